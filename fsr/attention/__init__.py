"""Maps read from an encoder's attention: where class tokens look, and which patches are alike."""

from fsr.attention._fusion import fuse_maps, refine_maps
from fsr.attention._maps import class_attention_maps, patch_affinity

__all__ = [
    "class_attention_maps",
    "fuse_maps",
    "patch_affinity",
    "refine_maps",
]
