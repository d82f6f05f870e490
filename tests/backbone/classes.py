"""Small encoders of every class and form that the adapter takes beside the plain ViT."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from fsr.backbone import ViTBackbone

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
BEIT = "beit_base_patch16_224"

CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "EVA02: rotary and absolute": ("eva02_tiny_patch14_224", {}),
    "EVA02, fused projection": ("eva02_base_patch16_clip_224", {}),
    "EVA02, post-norm": ("eva02_enormous_patch14_clip_224", {}),
    "EVA: absolute alone": ("eva_giant_patch14_224", {}),
    "DINOv3: rotary alone, registers": ("vit_small_patch16_dinov3", {}),
    "DINOv3, biases": ("vit_small_patch16_dinov3_qkvb", {}),
    "rotary, learned by block": ("vit_base_patch16_rope_mixed_224", {}),
    "rotary, register, no class token": ("vit_base_patch16_rope_reg1_gap_256", {}),
    "Perception Encoder: pre-norm, attention pool": ("vit_pe_core_tiny_patch16_384", {}),
    "grouped queries": ("vit_base_patch16_sapiens2", {"num_kv_heads": 1}),
    "BEiT: relative by block": (BEIT, {}),
    "BEiT v2, relative by block": ("beitv2_base_patch16_224", {}),
    "BEiT, relative shared": (
        BEIT,
        {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "use_abs_pos_emb": True},
    ),
    "BEiT, relative by block and shared": (BEIT, {"use_shared_rel_pos_bias": True}),
    "BEiT, absolute alone": (BEIT, {"use_rel_pos_bias": False, "use_abs_pos_emb": True}),
}
# The oldest timm that is supported does not have all of them.
FORMS = [
    pytest.param(
        form, marks=pytest.mark.skipif(not timm.is_model(name), reason="this timm lacks it")
    )
    for form, (name, _) in CLASSES.items()
]


def patch_of(form: str) -> int:
    return 14 if "patch14" in CLASSES[form][0] else 16


def build(form: str, grid: tuple[int, int] = (3, 3), **options: Any) -> ViTBackbone:
    """A backbone for a grid of patches, all of whose weights have an effect."""
    name, own = CLASSES[form]
    size = (grid[0] * patch_of(form), grid[1] * patch_of(form))
    made = ViTBackbone(name, image_size=size, options={**SMALL, **own, **options})
    return randomised(made).eval()


def timms(form: str, backbone: nn.Module, grid: tuple[int, int] = (3, 3), **options: Any) -> Any:
    """timm's own network with the weights of a backbone, as it builds it for one size."""
    name, own = CLASSES[form]
    size = (grid[0] * patch_of(form), grid[1] * patch_of(form))
    model = timm.create_model(name, num_classes=0, img_size=size, **{**SMALL, **own}, **options)
    missing, unexpected = model.load_state_dict(backbone.model.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith(("attn_pool.", "fc_norm.")) for key in missing)
    return model.eval()


def images_for(form: str, grid: tuple[int, int] = (3, 3), batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, grid[0] * patch_of(form), grid[1] * patch_of(form))


def randomised(module: Any) -> Any:
    """Draw all weights, so that no bias, norm or layer scale is without effect."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module
