"""The network, its checkpoints, and its maps at several scales."""

from fsr.segmenter._checkpoint import read_checkpoint
from fsr.segmenter._multiscale import (
    REDUCTIONS,
    Reduction,
    check_multi_scale,
    check_scales,
    maps_at,
    multi_scale_cams,
    multi_scale_probabilities,
    raw_cams,
    scaled_size,
)
from fsr.segmenter._network import SingleStageSegmenter
from fsr.segmenter._output import HEADS, Head, SegmenterOutput
from fsr.segmenter._parts import AGGREGATORS, DECODERS, Aggregator, Decoder

__all__ = [
    "AGGREGATORS",
    "DECODERS",
    "HEADS",
    "REDUCTIONS",
    "Aggregator",
    "Decoder",
    "Head",
    "Reduction",
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
