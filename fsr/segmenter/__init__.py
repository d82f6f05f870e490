"""The network, its checkpoints, and its maps at several scales."""

from fsr.segmenter import heads  # noqa: F401 - registers the kinds
from fsr.segmenter._card import ModelCard
from fsr.segmenter._checkpoint import read_checkpoint
from fsr.segmenter._hub import WEIGHTS, hub_file, is_hub_id
from fsr.segmenter._merged import merged_cam
from fsr.segmenter._method_head import HEAD_KINDS, HeadInput, HeadSpec, MethodHead, encoder_names
from fsr.segmenter._multiscale import (
    REDUCTIONS,
    Reduction,
    cam_head,
    cam_of,
    maps_at,
    multi_scale_cams,
    multi_scale_probabilities,
    raw_cams,
)
from fsr.segmenter._network import SingleStageSegmenter
from fsr.segmenter._output import HEADS, Head, MethodOutput, SegmenterOutput
from fsr.segmenter._parts import AGGREGATORS, DECODERS, FEATURES, Aggregator, Decoder
from fsr.segmenter._scales import check_multi_scale, check_scales, scaled_size
from fsr.segmenter._winners import multi_scale_labels

__all__ = [
    "AGGREGATORS",
    "DECODERS",
    "FEATURES",
    "HEADS",
    "HEAD_KINDS",
    "REDUCTIONS",
    "WEIGHTS",
    "Aggregator",
    "Decoder",
    "Head",
    "HeadInput",
    "HeadSpec",
    "MethodHead",
    "MethodOutput",
    "ModelCard",
    "Reduction",
    "SegmenterOutput",
    "SingleStageSegmenter",
    "cam_head",
    "cam_of",
    "check_multi_scale",
    "check_scales",
    "encoder_names",
    "hub_file",
    "is_hub_id",
    "maps_at",
    "merged_cam",
    "multi_scale_cams",
    "multi_scale_labels",
    "multi_scale_probabilities",
    "raw_cams",
    "read_checkpoint",
    "scaled_size",
]
