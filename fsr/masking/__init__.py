"""Which patches to mask: the uncertain ones first (Eq. 3 and 4)."""

from fsr.masking._equations import keep_one, mask_count, soft_mask, top_k_mask, uncertain_zone
from fsr.masking._masker import UncertainMasker

__all__ = [
    "UncertainMasker",
    "keep_one",
    "mask_count",
    "soft_mask",
    "top_k_mask",
    "uncertain_zone",
]
