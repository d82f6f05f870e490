"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._attention_affinity import AttentionAffinityHead
from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._class_tokens import ClassAttention, ClassTokenMeans, ClassTokens
from fsr.segmenter.heads._of_maps import AverageLogits, Foreground
from fsr.segmenter.heads._one_stage import ForegroundMasks, OneStageSegmentation, PooledScores
from fsr.segmenter.heads._pair import FirstSegmenter, MeanSegmentation, SecondSegmenter
from fsr.segmenter.heads._patch_classifier import (
    PatchClassifier,
    PatchMaxLogits,
    PatchProbabilities,
)
from fsr.segmenter.heads._patch_maps import PatchMaps, RankedPatches
from fsr.segmenter.heads._ranked_logits import RankedLogits
from fsr.segmenter.heads._recam import ClassPredictor, ReCAMMaps
from fsr.segmenter.heads._rrm import DilatedFeatures, MeanScores, SegmentationOfFeatures
from fsr.segmenter.heads._seam import CAMWithBackground, RevisedCAM
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "AttentionAffinityHead",
    "AverageLogits",
    "CAMWithBackground",
    "ClassAttention",
    "ClassPredictor",
    "ClassProjection",
    "ClassToken",
    "ClassTokenMeans",
    "ClassTokens",
    "DilatedFeatures",
    "FirstSegmenter",
    "Foreground",
    "ForegroundMasks",
    "MeanScores",
    "MeanSegmentation",
    "OneStageSegmentation",
    "PatchClassifier",
    "PatchMaps",
    "PatchMaxLogits",
    "PatchProbabilities",
    "PooledScores",
    "RankedLogits",
    "RankedPatches",
    "ReCAMMaps",
    "RevisedCAM",
    "SecondSegmenter",
    "SegmentationOfFeatures",
    "SegmentationScores",
]
