"""Scores over a whole data set, counted batch by batch in constant memory."""

from fsr.metrics._labels import LabelF1, LabelScores
from fsr.metrics._segmentation import SegmentationMetrics, SegmentationScores
from fsr.metrics._sweep import ThresholdSweep
from fsr.metrics._trimap import WIDTHS, TrimapMetrics, boundary_distance

__all__ = [
    "WIDTHS",
    "LabelF1",
    "LabelScores",
    "SegmentationMetrics",
    "SegmentationScores",
    "ThresholdSweep",
    "TrimapMetrics",
    "boundary_distance",
]
