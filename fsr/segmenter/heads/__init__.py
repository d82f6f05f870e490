"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._of_maps import AverageLogits, Foreground
from fsr.segmenter.heads._recam import ClassPredictor, ReCAMMaps
from fsr.segmenter.heads._seam import CAMWithBackground, RevisedCAM
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "AverageLogits",
    "CAMWithBackground",
    "ClassPredictor",
    "ClassProjection",
    "ClassToken",
    "Foreground",
    "ReCAMMaps",
    "RevisedCAM",
    "SegmentationScores",
]
