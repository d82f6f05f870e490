"""Scores over a whole data set, counted batch by batch in constant memory."""

from fsr.metrics.labels import LabelF1, LabelScores
from fsr.metrics.segmentation import SegmentationMetrics, SegmentationScores
from fsr.metrics.sweep import ThresholdSweep
from fsr.metrics.trimap import TrimapMetrics, boundary_distance

__all__ = [
    "LabelF1",
    "LabelScores",
    "SegmentationMetrics",
    "SegmentationScores",
    "ThresholdSweep",
    "TrimapMetrics",
    "boundary_distance",
]
