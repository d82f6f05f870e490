"""Inference at several scales with flips: CAMs (Eq. 2) and segmentation probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._checks import check_between, check_choice, check_floating, check_shape
from fsr._numerics import at_least_float32
from fsr.cam import merge_flip, resize_cam, sum_scales

REDUCTIONS = ("max_logits", "mean_probabilities")


def multi_scale_cams(
    raw_cams: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    patch: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
) -> tuple[Tensor, Tensor]:
    """Sum CAMs over scales, maxima over flips, normalise them.

    Args:
        raw_cams: final and auxiliary CAM before min-max of Eq. 2, ``(B, C, H, W)``, of images.
        images: ``(B, 3, height, width)``.
        patch: ``(height, width)`` of a patch in pixels.
        scales: factors of the image size.
        flip: merge with the CAM of the mirror image.

    Returns:
        Final and auxiliary CAM between 0 and 1, ``(B, C, height, width)``.
    """
    size = (images.shape[-2], images.shape[-1])
    finals, auxiliaries = [], []
    for batch in _scaled_batches(images, patch, scales, flip):
        # Up-sampled before flips are merged: the released code's order.
        final, auxiliary = (resize_cam(at_least_float32(cam), size) for cam in raw_cams(batch))
        if flip:
            final, auxiliary = merge_flip(*final.chunk(2)), merge_flip(*auxiliary.chunk(2))
        finals.append(final)
        auxiliaries.append(auxiliary)
    return sum_scales(finals), sum_scales(auxiliaries)


def multi_scale_probabilities(
    logits_of: Callable[[Tensor], Tensor],
    images: Tensor,
    patch: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
    reduce: str,
) -> Tensor:
    """Merge segmentation logits over flips and scales into probabilities.

    Args:
        logits_of: segmentation logits ``(B, C + 1, H, W)`` of images.
        images: ``(B, 3, height, width)``.
        patch: ``(height, width)`` of a patch in pixels.
        scales: factors of the image size.
        flip: merge with the logits of the mirror image.
        reduce: ``"max_logits"`` sums logits over flips, takes the maximum over scales, then
            softmax; ``"mean_probabilities"`` averages softmax over flips and scales.

    Returns:
        Probabilities ``(B, C + 1, height, width)``, in float32 at least.
    """
    check_choice("reduce", reduce, REDUCTIONS)
    size = (images.shape[-2], images.shape[-1])
    merged: Tensor | None = None
    for batch in _scaled_batches(images, patch, scales, flip):
        maps = resize_cam(at_least_float32(logits_of(batch)), size)
        if reduce == "mean_probabilities":
            maps = maps.softmax(dim=1)
        if flip:
            plain, mirrored = maps.chunk(2)
            maps = plain + mirrored.flip(-1)
        if merged is None:
            merged = maps
        else:
            merged = torch.maximum(merged, maps) if reduce == "max_logits" else merged + maps
    if merged is None:
        raise ValueError("scales: expected at least one scale, got none")
    if reduce == "max_logits":
        return merged.softmax(dim=1)
    return merged / (len(scales) * (2 if flip else 1))


def check_multi_scale(
    images: Tensor, patch: tuple[int, int], scales: Sequence[float]
) -> tuple[float, ...]:
    """Check images and scales of multi-scale inference; return the scales as a tuple."""
    _, _, height, width = check_shape("images", images, "B channels H W", channels=3)
    check_floating("images", images)
    if height < patch[0] or width < patch[1]:
        raise ValueError(
            f"images: expected at least one patch of {tuple(patch)} pixels, got {(height, width)}"
        )
    if isinstance(scales, int | float):
        raise TypeError(f"scales: expected a sequence of numbers, got {scales!r}")
    checked = tuple(scales)
    if not checked:
        raise ValueError("scales: expected at least one scale, got none")
    for scale in checked:
        check_between("scales", scale, 0.0, math.inf, inclusive=False)
    return checked


def scaled_size(size: tuple[int, int], scale: float, patch: tuple[int, int]) -> tuple[int, int]:
    """Return a scaled image size, rounded to the nearest multiple of the patch, at least one.

    Example:
        >>> scaled_size((100, 64), 0.5, (16, 16)), scaled_size((16, 16), 0.1, (16, 16))
        ((48, 32), (16, 16))
    """
    height, width = (
        max(math.floor(scale * side / p + 0.5), 1) * p for side, p in zip(size, patch, strict=True)
    )
    return height, width


def _scaled_batches(
    images: Tensor, patch: tuple[int, int], scales: Sequence[float], flip: bool
) -> Iterator[Tensor]:
    """Yield the images at every scale, followed by their mirror images if flips are asked for."""
    size = (images.shape[-2], images.shape[-1])
    for scale in scales:
        target = scaled_size(size, scale, patch)
        scaled = images
        if target != size:
            scaled = F.interpolate(
                at_least_float32(images), size=target, mode="bilinear", align_corners=False
            ).to(images.dtype)
        yield torch.cat([scaled, scaled.flip(-1)]) if flip else scaled
