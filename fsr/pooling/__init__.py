"""Pooling of patch tokens, or of maps of scores, into one vector per image."""

from fsr.pooling._max import max_pool
from fsr.pooling._patch_max import patch_max
from fsr.pooling._ranking import global_weighted_ranking
from fsr.pooling._weighted import (
    BACKGROUND_LOGIT,
    focal_mask_penalty,
    masks_with_background,
    normalized_global_weighted_pooling,
)

__all__ = [
    "BACKGROUND_LOGIT",
    "focal_mask_penalty",
    "global_weighted_ranking",
    "masks_with_background",
    "max_pool",
    "normalized_global_weighted_pooling",
    "patch_max",
]
