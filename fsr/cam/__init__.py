"""Class activation maps (Eq. 2) and the labels made from them."""

from fsr._core.labels import BACKGROUND, IGNORE
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

__all__ = [
    "BACKGROUND",
    "EPS",
    "IGNORE",
    "LAYERS",
    "Layer",
    "cam_to_labels",
    "class_activation_maps",
    "keep_present",
    "merge_flip",
    "normalize_cam",
    "resize_cam",
    "strongest_class",
    "sum_scales",
]
