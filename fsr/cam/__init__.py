"""Class activation maps (Eq. 2) and the labels made from them."""

from fsr._core.labels import BACKGROUND, IGNORE, ignore_label
from fsr.cam._affinity import affinity_cam, token_affinity
from fsr.cam._filter import filter_by_labels
from fsr.cam._flips import crop_maps, flip_maps, unflip_maps
from fsr.cam._labels import cam_to_labels, keep_present, strongest_class
from fsr.cam._maps import (
    EPS,
    LAYERS,
    Layer,
    class_activation_maps,
    merge_flip,
    normalize_cam,
    resize_cam,
    sum_scales,
)
from fsr.cam._mixture import LABEL_THRESHOLDS, LabelThresholds, mixture_thresholds
from fsr.cam._recam import recam
from fsr.cam._seam import max_norm, seam_normalize, strongest_with_background
from fsr.cam._sums import sum_flip, sum_sizes
from fsr.cam._tiles import join_tiles, split_tiles

__all__ = [
    "BACKGROUND",
    "EPS",
    "IGNORE",
    "LABEL_THRESHOLDS",
    "LAYERS",
    "LabelThresholds",
    "Layer",
    "affinity_cam",
    "cam_to_labels",
    "class_activation_maps",
    "crop_maps",
    "filter_by_labels",
    "flip_maps",
    "ignore_label",
    "join_tiles",
    "keep_present",
    "max_norm",
    "merge_flip",
    "mixture_thresholds",
    "normalize_cam",
    "recam",
    "resize_cam",
    "seam_normalize",
    "split_tiles",
    "strongest_class",
    "strongest_with_background",
    "sum_flip",
    "sum_scales",
    "sum_sizes",
    "token_affinity",
    "unflip_maps",
]
