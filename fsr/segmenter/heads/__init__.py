"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._class_tokens import ClassAttention, ClassTokenMeans, ClassTokens
from fsr.segmenter.heads._patch_classifier import (
    PatchClassifier,
    PatchMaxLogits,
    PatchProbabilities,
)
from fsr.segmenter.heads._patch_maps import PatchMaps, RankedPatches
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "ClassAttention",
    "ClassProjection",
    "ClassToken",
    "ClassTokenMeans",
    "ClassTokens",
    "PatchClassifier",
    "PatchMaps",
    "PatchMaxLogits",
    "PatchProbabilities",
    "RankedPatches",
    "SegmentationScores",
]
