"""The small encoder of the built-in scenes, registered with timm as ``fsr_scenes_tiny``.

Its weights were pretrained by ``benchmarks/scenes_encoder.py`` on single-object scenes with image
labels alone, and travel inside the package; ``pretrained=True`` loads them through timm like any
other weights.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from timm.models import build_model_with_cfg, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

__all__ = ["fsr_scenes_tiny"]

WEIGHTS = resources.files("fsr") / "weights" / "fsr_scenes_tiny.safetensors"

# timm looks the configuration up in a module attribute of this name when it registers a model.
default_cfgs: dict[str, dict[str, Any]] = {
    "fsr_scenes_tiny": {
        "file": str(WEIGHTS),
        "num_classes": 6,
        "input_size": (3, 96, 96),
        "pool_size": None,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "fixed_input_size": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": "apache-2.0",
    }
}


@register_model
def fsr_scenes_tiny(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build the 1.2-million-parameter ViT (patch 8, 128 wide, 6 blocks) for 96-pixel scenes.

    Args:
        pretrained: load the weights that the package ships.
        kwargs: options of timm's ``VisionTransformer``.

    Returns:
        The model; it has no class token.

    Example:
        >>> import timm, torch
        >>> model = timm.create_model("fsr_scenes_tiny")
        >>> model(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 6])
    """
    options = {
        "img_size": 96,
        "patch_size": 8,
        "embed_dim": 128,
        "depth": 6,
        "num_heads": 4,
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,
        **kwargs,
    }
    model: VisionTransformer = build_model_with_cfg(
        VisionTransformer,
        "fsr_scenes_tiny",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        **options,
    )
    return model
