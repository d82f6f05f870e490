"""The network, its checkpoints, and its maps at several scales."""

from fsr.segmenter._checkpoint import read_checkpoint
from fsr.segmenter._multiscale import (
    REDUCTIONS,
    check_multi_scale,
    check_scales,
    maps_at,
    multi_scale_cams,
    multi_scale_probabilities,
    raw_cams,
    scaled_size,
)
from fsr.segmenter._network import HEADS, SegmenterOutput, SingleStageSegmenter

__all__ = [
    "HEADS",
    "REDUCTIONS",
    "SegmenterOutput",
    "SingleStageSegmenter",
    "check_multi_scale",
    "check_scales",
    "maps_at",
    "multi_scale_cams",
    "multi_scale_probabilities",
    "raw_cams",
    "read_checkpoint",
    "scaled_size",
]
