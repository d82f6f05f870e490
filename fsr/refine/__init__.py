"""Refinement of class activation maps and probabilities: PAR, pseudo labels, dense CRF."""

from fsr.refine._crf_pool import CRFPool
from fsr.refine._crf_settings import CRF_PRESETS, CRFPreset, CRFSettings
from fsr.refine._dense_crf import BACKENDS, MAX_CPU_PIXELS, Backend, DenseCRF
from fsr.refine._mean_field import label_map_probabilities, mean_field
from fsr.refine._par import PAR, pixel_adaptive_affinity, propagate
from fsr.refine._pseudo_labels import pseudo_labels
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
    "PAR",
    "RESPONSE_SCALES",
    "Backend",
    "CRFPool",
    "CRFPreset",
    "CRFSettings",
    "DenseCRF",
    "cam_with_background",
    "label_map_probabilities",
    "mean_field",
    "pixel_adaptive_affinity",
    "propagate",
    "pseudo_labels",
    "reliable_region",
    "response_scaling_uncertainty",
    "uncertainty_weights",
]
