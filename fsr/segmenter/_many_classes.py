"""Probabilities of many classes, merged a few channels at a time into the one map that stays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.numerics import at_least_float32

# Numbers that are worked on at a time: they stay in a CPU's cache.
AT_ONCE = 2**19


# Logits of each scale, (B, C + 1, h, w), and those of the mirror images, still mirrored, or None.
Scales = Sequence[tuple[Tensor, Tensor | None]]


def merged_probabilities(scales: Scales, size: tuple[int, int]) -> Tensor:
    """Sum logits over flips, take the maximum over scales, then softmax.

    Args:
        scales: logits of each scale, ``(B, C + 1, h, w)``, and those of the mirror images, still
            mirrored, or None.
        size: size of the result.

    Returns:
        ``(B, C + 1, *size)``, in float32 at least.

    Example:
        >>> logits = torch.zeros(1, 300, 1, 1)
        >>> merged_probabilities([(logits, None)], (2, 2)).sum(dim=1).round(decimals=3)
        tensor([[[1., 1.],
                 [1., 1.]]])
    """
    first = at_least_float32(scales[0][0])
    batch, channels = first.shape[:2]
    merged = first.new_empty(batch, channels, *size)
    step = max(1, AT_ONCE // (batch * size[0] * size[1]))
    parts = contiguous(scales)
    for start in range(0, channels, step):
        part = slice(start, start + step)
        merged[:, part] = merged_logits(parts, part, size)
    merged -= merged.amax(dim=1, keepdim=True)
    merged.exp_()
    return merged.div_(merged.sum(dim=1, keepdim=True))


def merged_logits(scales: Scales, part: slice | Tensor, size: tuple[int, int]) -> Tensor:
    """Sum the logits of some channels over flips and take the maximum over scales.

    Args:
        scales: as of :func:`merged_probabilities`, in float32 at least and contiguous.
        part: the channels.
        size: size of the result.

    Returns:
        ``(B, channels, *size)``.

    Example:
        >>> logits = torch.tensor([[[[2.0]], [[1.0]]]])
        >>> merged_logits([(logits, logits), (logits, None)], slice(1), (1, 2))
        tensor([[[[4., 4.]]]])
    """
    merged: Tensor | None = None
    for plain, mirrored in scales:
        found = _resized(plain[:, part], size)
        if mirrored is not None:
            found = found + _resized(mirrored[:, part], size).flip(-1)
        merged = found if merged is None else torch.maximum(merged, found)
    if merged is None:
        raise ValueError("scales: expected at least one scale, got none")
    return merged


def contiguous(scales: Scales) -> list[tuple[Tensor, Tensor | None]]:
    """Return logits in float32 at least, channel after channel, which are then read in parts.

    Example:
        >>> contiguous([(torch.zeros(1, 1, 1, 1).half(), None)])[0][0].dtype
        torch.float32
    """
    return [
        (
            at_least_float32(plain).contiguous(),
            None if mirrored is None else at_least_float32(mirrored).contiguous(),
        )
        for plain, mirrored in scales
    ]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
