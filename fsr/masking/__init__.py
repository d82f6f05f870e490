"""Which patches to mask: the uncertain ones first (Eq. 3 and 4); regions, crops, rims, mixing."""

from fsr.masking._class_mix import MixedImages, class_mix, class_mix_mask, draw_classes
from fsr.masking._confident import confident_share
from fsr.masking._entropy import block_mean, entropy_soft_mask, token_entropy
from fsr.masking._equations import (
    ROUNDINGS,
    Rounding,
    keep_one,
    mask_count,
    soft_mask,
    strict_mask,
    top_k_mask,
    uncertain_zone,
)
from fsr.masking._local_crops import crop_flags, sample_local_crops
from fsr.masking._masker import STRATEGIES, THRESHOLDS, Strategy, Thresholds, UncertainMasker
from fsr.masking._otsu import otsu_thresholds, strongest_with_thresholds
from fsr.masking._regions import uncertain_regions
from fsr.masking._rim import MaskRim, boundary

__all__ = [
    "ROUNDINGS",
    "STRATEGIES",
    "THRESHOLDS",
    "MaskRim",
    "MixedImages",
    "Rounding",
    "Strategy",
    "Thresholds",
    "UncertainMasker",
    "block_mean",
    "boundary",
    "class_mix",
    "class_mix_mask",
    "confident_share",
    "crop_flags",
    "draw_classes",
    "entropy_soft_mask",
    "keep_one",
    "mask_count",
    "otsu_thresholds",
    "sample_local_crops",
    "soft_mask",
    "strict_mask",
    "strongest_with_thresholds",
    "token_entropy",
    "top_k_mask",
    "uncertain_regions",
    "uncertain_zone",
]
