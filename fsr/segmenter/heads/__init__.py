"""Heads of methods, one file each; importing this registers their kinds."""

from fsr.segmenter.heads._attention_affinity import AttentionAffinityHead
from fsr.segmenter.heads._class_token import ClassProjection, ClassToken
from fsr.segmenter.heads._pair import FirstSegmenter, MeanSegmentation, SecondSegmenter
from fsr.segmenter.heads._segmentation_scores import SegmentationScores

__all__ = [
    "AttentionAffinityHead",
    "ClassProjection",
    "ClassToken",
    "FirstSegmenter",
    "MeanSegmentation",
    "SecondSegmenter",
    "SegmentationScores",
]
