"""The encoder: an adapter over timm's vision transformers, and the small encoder of the scenes."""

from fsr.backbone._build import RESERVED
from fsr.backbone._frozen import FrozenEncoder
from fsr.backbone._prefix_tokens import adapt_prefix_tokens
from fsr.backbone._pretrained import final_norm_name
from fsr.backbone._scenes_encoder import fsr_scenes_tiny
from fsr.backbone._vit import BackboneOutput, ViTBackbone

__all__ = [
    "RESERVED",
    "BackboneOutput",
    "FrozenEncoder",
    "ViTBackbone",
    "adapt_prefix_tokens",
    "final_norm_name",
    "fsr_scenes_tiny",
]
