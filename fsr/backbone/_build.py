"""timm's vision transformers by name, checked and brought to what patch tokens need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers.format import Format
from timm.models import VisionTransformer
from torch import nn

import fsr.backbone._scenes_encoder  # noqa: F401 - registers its name with timm
from fsr._core.checks import check_positive_int
from fsr.backbone._pretrained import check_timm_name

RESERVED = ("checkpoint_path", "dynamic_img_size", "img_size", "num_classes", "pretrained")


def build_vit(name: str, image_size: int | tuple[int, int], options: Mapping[str, Any]) -> Any:
    """Build a timm ViT by name for images of any size."""
    check_timm_name(name)
    size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    for side in size:
        check_positive_int("image_size", side)
    for key in RESERVED:
        if key in options:
            raise ValueError(f"backbone_options: {key!r} is not an option here")
    try:
        vit = timm.create_model(
            name, num_classes=0, img_size=size, dynamic_img_size=True, **options
        )
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        _check_supported_name(name)
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"backbone: timm cannot build {name!r} with options {dict(options)}: {reason}"
        ) from error
    vit = check_supported(vit)
    check_divisible("image_size", size, vit.patch_embed.feat_ratio(as_scalar=False))
    return vit


def _check_supported_name(name: str) -> None:
    """Raise if timm builds another class than a ViT under this name."""
    for device in ("meta", "cpu"):  # Not every model can be built without memory.
        try:
            with torch.device(device):
                plain = timm.create_model(name, num_classes=0)
        except Exception:  # The error that led here says more.
            continue
        check_supported(plain)
        return


def check_supported(model: nn.Module) -> Any:
    """Return the model if it computes its tokens as timm's VisionTransformer does."""
    own_forward = getattr(type(model), "forward_features", None)
    if isinstance(model, VisionTransformer) and own_forward is VisionTransformer.forward_features:
        return model
    raise ValueError(
        "backbone: expected timm's VisionTransformer or VisionTransformerDistilled, "
        f"got {type(model).__name__}: not supported"
    )


def prepared(vit: Any) -> Any:
    """Leave in a ViT what patch tokens need, and make it accept any input size."""
    # Parameters that no output depends on would make DDP wait for their gradients.
    vit.reset_classifier(0, "")
    if not isinstance(vit.norm, nn.Identity):
        vit.fc_norm = nn.Identity()
    vit.dynamic_img_size = True
    embed = vit.patch_embed
    embed.strict_img_size = False
    embed.flatten = False
    embed.output_fmt = Format.NHWC
    return vit


def head_count(vit: Any) -> int:
    """Return the head count of a ViT's attention, wherever its kind of block keeps it."""
    return next(
        int(module.num_heads) for module in vit.blocks[0].modules() if hasattr(module, "num_heads")
    )


def check_divisible(name: str, size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Return the patch grid, or raise with the nearest sizes that the patch divides."""
    if all(side >= p and side % p == 0 for side, p in zip(size, patch, strict=True)):
        return size[0] // patch[0], size[1] // patch[1]
    lower = tuple(max(side // p, 1) * p for side, p in zip(size, patch, strict=True))
    upper = tuple(-(-side // p) * p for side, p in zip(size, patch, strict=True))
    near = " or ".join(str(each) for each in dict.fromkeys((lower, upper)))
    raise ValueError(
        f"{name}: expected a height and width that the patch {tuple(patch)} divides, "
        f"got {tuple(size)}; nearest: {near}"
    )
