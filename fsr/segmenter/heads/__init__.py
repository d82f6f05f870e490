"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._one_stage import (
    ForegroundMasks,
    OneStageSegmentation,
    PooledScores,
)
from fsr.segmenter.heads._rrm import DilatedFeatures, MeanScores, SegmentationOfFeatures
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "ClassProjection",
    "ClassToken",
    "DilatedFeatures",
    "ForegroundMasks",
    "MeanScores",
    "OneStageSegmentation",
    "PooledScores",
    "SegmentationOfFeatures",
    "SegmentationScores",
]
