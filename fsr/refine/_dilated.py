"""The neighbours of every pixel at several distances, and moving scores to them by weight."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_sequence
from fsr._core.checks import (
    check_finite,
    check_floating,
    check_positive_int,
    check_same_device,
    check_same_type,
    check_shape,
)
from fsr._core.kernel_switch import kernels_wanted
from fsr._core.numerics import at_least_float32
from fsr._core.values import may_look
from fsr.errors import ShapeError

AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def propagate(masks: Tensor, affinity: Tensor, dilations: Sequence[int]) -> Tensor:
    """Replace every pixel by the sum of its neighbours, weighted by their affinity.

    Args:
        masks: scores, ``(B, C, H, W)``.
        affinity: from :func:`pixel_adaptive_affinity` or :func:`pamr_affinity`,
            ``(B, 8 * len(dilations), H, W)``.
        dilations: the same dilations.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ShapeError: the sizes do not fit each other.
        TypeError: a dilation is no integer.
        ValueError: ``dilations`` is empty or holds a number below 1.

    Example:
        >>> affinity = torch.full((1, 8, 4, 4), 1 / 8)
        >>> propagate(torch.ones(1, 2, 4, 4), affinity, dilations=(1,)).unique()
        tensor([1.])
    """
    batch, _, height, width = check_shape("masks", masks, "B C H W")
    check_dilations(dilations)
    count = len(AROUND) * len(dilations)
    check_shape("affinity", affinity, "B N H W", B=batch, N=count, H=height, W=width)
    check_same_device(masks=masks, affinity=affinity)
    check_floating("masks", masks)
    check_floating("affinity", affinity)
    check_same_type(masks=masks, affinity=affinity)
    if runs_as_kernel(masks, affinity):
        from fsr.refine._propagate_kernel import propagate_at_once

        return propagate_at_once(masks, affinity, dilations)
    # A running sum over shifted views: stacking the neighbours would hold 48 copies of the masks.
    total = torch.zeros_like(masks)
    weights = affinity.unsqueeze(2).unbind(1)
    for neighbour, weight in zip(neighbours(masks, dilations), weights, strict=True):
        total = total.addcmul_(neighbour, weight)
    return total


def neighbours(value: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield the map shifted to each neighbour, as views of one map padded with its border."""
    height, width = value.shape[-2:]
    reach = max(dilations)
    padded = F.pad(value, [reach] * 4, mode="replicate")
    for dy, dx in offsets_of(dilations):
        top, left = reach + dy, reach + dx
        yield padded[..., top : top + height, left : left + width]


def offsets_of(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Return rows and columns from a pixel to each of its neighbours, in their order."""
    return [(dy * dilation, dx * dilation) for dilation in dilations for dy, dx in AROUND]


@functools.lru_cache(maxsize=16)
def offset_table(dilations: tuple[int, ...], device: torch.device) -> Tensor:
    """Return these offsets as a kernel reads them, ``(n, 2)`` int32.

    They are copied to a device once, as the copy waits for all that runs there.
    """
    return torch.tensor(offsets_of(dilations), dtype=torch.int32, device=device)


def runs_as_kernel(*values: Tensor) -> bool:
    """Tell whether an operation on these runs as a Triton kernel, which has no gradient."""
    if torch.is_grad_enabled() and any(value.requires_grad for value in values):
        return False
    return values[0].dtype == torch.float32 and values[0].numel() > 0 and kernels_wanted(values[0])


def check_pair(images: Tensor, masks: Tensor) -> None:
    """Raise unless the masks can be refined along the images: shapes, types, finite values."""
    batch, *_ = check_shape("images", images, "B K H W")
    _, channels, *_ = check_shape("masks", masks, "B C h w", B=batch)
    check_same_device(images=images, masks=masks)
    if channels < 1:
        raise ShapeError("masks: expected at least one channel, got none")
    check_floating("images", images)
    check_floating("masks", masks)
    _check_finite_pair(images, masks)


def at_size_of(images: Tensor, masks: Tensor) -> Tensor:
    """Return the masks at the images' size, in at least float32."""
    masks = at_least_float32(masks)
    size = images.shape[-2:]
    if masks.shape[-2:] != size:
        masks = F.interpolate(masks, size, mode="bilinear", align_corners=True)
    return masks


def check_dilations(dilations: Sequence[int]) -> None:
    """Raise unless there is a dilation and all are integers of at least 1."""
    check_sequence("dilations", dilations, "integers")
    if len(dilations) == 0:
        raise ValueError("dilations: expected at least one distance, got none")
    for index, dilation in enumerate(dilations):
        check_positive_int(f"dilations[{index}]", dilation)


def _check_finite_pair(images: Tensor, masks: Tensor) -> None:
    """Raise if a value is NaN or infinite; one test unless there is something to report."""
    if not may_look(images):
        return
    if bool(torch.isfinite(images).all() & torch.isfinite(masks).all()):
        return
    check_finite("images", images)
    check_finite("masks", masks)
