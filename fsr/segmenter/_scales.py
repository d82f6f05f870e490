"""Scales of inference: factors of an image's size, and the size that each gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fsr._core.arguments import check_positive
from fsr._core.checks import (
    check_between,
    check_floating,
    check_grid,
    check_positive_int,
    check_shape,
)


def check_multi_scale(
    images: Tensor, patch: tuple[int, int], scales: Sequence[float], channels: int = 3
) -> tuple[float, ...]:
    """Check images and scales of multi-scale inference; return the scales as a tuple."""
    check_grid("patch", patch)
    check_positive_int("channels", channels)
    _, _, height, width = check_shape("images", images, "B channels H W", channels=channels)
    check_floating("images", images)
    if height < patch[0] or width < patch[1]:
        raise ValueError(
            f"images: expected at least one patch of {tuple(patch)} pixels, got {(height, width)}"
        )
    return check_scales("scales", scales)


def check_scales(name: str, scales: Any) -> tuple[float, ...]:
    """Check factors of the image size; return them as a tuple."""
    if not isinstance(scales, Sequence) or isinstance(scales, str):
        raise TypeError(f"{name}: expected a sequence of numbers, got {scales!r}")
    checked = tuple(scales)
    if not checked:
        raise ValueError(f"{name}: expected at least one scale, got none")
    for scale in checked:
        check_between(name, scale, 0.0, math.inf, inclusive=False)
    return checked


def scaled_size(size: tuple[int, int], scale: float, patch: tuple[int, int]) -> tuple[int, int]:
    """Return a scaled image size, rounded to the nearest multiple of the patch, at least one.

    Example:
        >>> scaled_size((100, 64), 0.5, (16, 16)), scaled_size((16, 16), 0.1, (16, 16))
        ((48, 32), (16, 16))
    """
    check_grid("size", size)
    check_positive("scale", scale)
    check_grid("patch", patch)
    height, width = (
        max(math.floor(scale * side / p + 0.5), 1) * p for side, p in zip(size, patch, strict=True)
    )
    return height, width
