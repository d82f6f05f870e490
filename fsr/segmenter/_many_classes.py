"""Probabilities of many classes, merged a few channels at a time into the one map that stays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.numerics import at_least_float32

# Numbers that are worked on at a time: they stay in a CPU's cache.
AT_ONCE = 2**19


def merged_probabilities(
    scales: Sequence[tuple[Tensor, Tensor | None]], size: tuple[int, int]
) -> Tensor:
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
    parts = [[None if m is None else at_least_float32(m).contiguous() for m in p] for p in scales]
    first = at_least_float32(scales[0][0])
    batch, channels = first.shape[:2]
    merged = first.new_empty(batch, channels, *size)
    step = max(1, AT_ONCE // (batch * size[0] * size[1]))
    for start in range(0, channels, step):
        part = slice(start, start + step)
        for number, pair in enumerate(parts):
            maps = [None if m is None else _resized(m[:, part], size) for m in pair]
            found = sum(
                m if index == 0 else m.flip(-1) for index, m in enumerate(maps) if m is not None
            )
            if number == 0:
                merged[:, part] = found
            else:
                torch.maximum(merged[:, part], torch.as_tensor(found), out=merged[:, part])
    merged -= merged.amax(dim=1, keepdim=True)
    merged.exp_()
    return merged.div_(merged.sum(dim=1, keepdim=True))


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
