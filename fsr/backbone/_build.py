"""timm's encoders by name, built for images of any size, and what is checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

import fsr.backbone._scenes_encoder  # noqa: F401 - registers its name with timm
from fsr._core.checks import check_positive_int
from fsr.backbone._bands import timm_options
from fsr.backbone._kinds import kind_named, kind_of
from fsr.backbone._pretrained import check_timm_name, load_pretrained

RESERVED = ("checkpoint_path", "dynamic_img_size", "img_size", "num_classes", "pretrained")


def encoder_of(
    model: str | nn.Module,
    pretrained: bool | str | Path,
    image_size: int | tuple[int, int],
    options: Mapping[str, Any] | None,
) -> Any:
    """Return an encoder given by name, built and loaded, or as a module, as it is.

    Raises:
        TypeError: the model is neither, or another argument has the wrong type.
        ValueError: the name cannot be built or loaded, or a module comes with options.
    """
    check_source(model, pretrained, options)
    if isinstance(model, str):
        chosen = timm_options(options or {})
        vit = build_vit(model, image_size, chosen)
        if pretrained is not False:
            load_pretrained(vit, model, pretrained, chosen)
        return vit
    return model


def check_source(
    model: str | nn.Module, pretrained: bool | str | Path, options: Mapping[str, Any] | None
) -> None:
    """Raise unless an encoder is a name, or a module without what belongs to a name."""
    if not isinstance(pretrained, (bool, str, Path)):
        raise TypeError(
            f"pretrained: expected False, True or a path, got {type(pretrained).__name__}"
        )
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"backbone_options: expected a mapping, got {type(options).__name__}")
    if not isinstance(model, (str, nn.Module)):
        raise TypeError(f"backbone: expected a timm name or a module, got {type(model).__name__}")
    if isinstance(model, nn.Module) and (pretrained is not False or options):
        raise ValueError(
            "backbone: pretrained and backbone_options belong to a name; "
            f"got them with a module, {type(model).__name__}"
        )


def build_vit(name: str, image_size: int | tuple[int, int], options: Mapping[str, Any]) -> Any:
    """Build one of timm's transformers by name for images of any size."""
    check_timm_name(name)
    size = checked_size(image_size)
    check_options(options)
    sizes = kind_named(name).size_options
    try:
        vit: Any = timm.create_model(name, num_classes=0, img_size=size, **sizes, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        _check_supported_name(name)
        raise cannot_build(name, options, error) from error
    kind_of(vit)
    check_divisible("image_size", size, vit.patch_embed.feat_ratio(as_scalar=False))
    return vit


def checked_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return an image size as height and width, or raise unless it is positive."""
    size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    for side in size:
        check_positive_int("image_size", side)
    return size


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if an option is one that the adapter sets itself."""
    for key in RESERVED:
        if key in options:
            raise ValueError(f"backbone_options: {key!r} is not an option here")


def cannot_build(name: str, options: Mapping[str, Any], error: Exception) -> ValueError:
    """Return what to raise where timm cannot build a model, with its reason."""
    reason = str(error) or type(error).__name__
    return ValueError(
        f"backbone: timm cannot build {name!r} with options {dict(options)}: {reason}"
    )


def _check_supported_name(name: str) -> None:
    """Raise if timm builds a class under this name that is not supported."""
    for device in ("meta", "cpu"):  # Not every model can be built without memory.
        try:
            with torch.device(device):
                plain = timm.create_model(name, num_classes=0)
        except Exception:  # The error that led here says more.
            continue
        kind_of(plain)
        return


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
