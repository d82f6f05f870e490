"""Refinement of class activation maps and probabilities: PAR, pseudo labels, dense CRF."""

from fsr.refine._crf_pool import CRFPool
from fsr.refine._dense_crf import CRF_PRESETS, CRFSettings, DenseCRF
from fsr.refine._mean_field import label_map_probabilities, mean_field
from fsr.refine._par import PAR, pixel_adaptive_affinity, propagate
from fsr.refine._pseudo_labels import pseudo_labels

__all__ = [
    "CRF_PRESETS",
    "PAR",
    "CRFPool",
    "CRFSettings",
    "DenseCRF",
    "label_map_probabilities",
    "mean_field",
    "pixel_adaptive_affinity",
    "propagate",
    "pseudo_labels",
]
