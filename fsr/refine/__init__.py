"""Refinement of class activation maps and probabilities: PAR, PAMR, pseudo labels, dense CRF."""

from fsr.refine._confident_masks import confident_masks, refine_masks
from fsr.refine._crf_pool import CRFPool
from fsr.refine._crf_settings import CRF_PRESETS, CRFPreset, CRFSettings
from fsr.refine._dense_crf import BACKENDS, MAX_CPU_PIXELS, Backend, DenseCRF
from fsr.refine._dilated import propagate
from fsr.refine._in_box import refine_in_box
from fsr.refine._labels_between import labels_between
from fsr.refine._mean_field import label_map_probabilities, mean_field
from fsr.refine._pamr import PAMR, pamr_affinity
from fsr.refine._par import PAR, pixel_adaptive_affinity
from fsr.refine._pixel_correlation import PixelCorrelation, pixel_correlation
from fsr.refine._pseudo_labels import pseudo_labels
from fsr.refine._reliable_labels import reliable_labels
from fsr.refine._reliable_region import cam_with_background, reliable_region
from fsr.refine._response_scaling import (
    RESPONSE_SCALES,
    response_scaling_uncertainty,
    uncertainty_weights,
)

__all__ = [
    "BACKENDS",
    "CRF_PRESETS",
    "MAX_CPU_PIXELS",
    "PAMR",
    "PAR",
    "RESPONSE_SCALES",
    "Backend",
    "CRFPool",
    "CRFPreset",
    "CRFSettings",
    "DenseCRF",
    "PixelCorrelation",
    "cam_with_background",
    "confident_masks",
    "label_map_probabilities",
    "labels_between",
    "mean_field",
    "pamr_affinity",
    "pixel_adaptive_affinity",
    "pixel_correlation",
    "propagate",
    "pseudo_labels",
    "refine_in_box",
    "refine_masks",
    "reliable_labels",
    "reliable_region",
    "response_scaling_uncertainty",
    "uncertainty_weights",
]
