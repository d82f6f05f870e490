"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._patch_classifier import (
    PatchClassifier,
    PatchMaxLogits,
    PatchProbabilities,
)
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "ClassProjection",
    "ClassToken",
    "PatchClassifier",
    "PatchMaxLogits",
    "PatchProbabilities",
    "SegmentationScores",
]
