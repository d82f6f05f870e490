"""The encoder: adapters over timm's networks, and the small encoder of the scenes."""

from fsr.backbone._attention import weights_of
from fsr.backbone._build import RESERVED
from fsr.backbone._compiled import compile_blocks
from fsr.backbone._features import FeatureBackbone
from fsr.backbone._frozen import FrozenEncoder
from fsr.backbone._offers import check_offers
from fsr.backbone._output import AttentionForm, BackboneOutput, BackboneReading, BackboneRequest
from fsr.backbone._prefix_tokens import adapt_prefix_tokens
from fsr.backbone._pretrained import final_norm_name
from fsr.backbone._queries import query_key
from fsr.backbone._scenes_encoder import fsr_scenes_tiny
from fsr.backbone._vit import ViTBackbone

__all__ = [
    "RESERVED",
    "AttentionForm",
    "BackboneOutput",
    "BackboneReading",
    "BackboneRequest",
    "FeatureBackbone",
    "FrozenEncoder",
    "ViTBackbone",
    "adapt_prefix_tokens",
    "check_offers",
    "compile_blocks",
    "final_norm_name",
    "fsr_scenes_tiny",
    "query_key",
    "weights_of",
]
