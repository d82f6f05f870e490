"""Maps enlarged bilinearly, part by part, and what they can be at most in each part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Side of the parts in pixels: a few patches, so that bounds are near what they bound. A GPU, which
# waits for each of them, gets larger ones.
PART, PART_OF_GPU = 32, 128


class Axis(NamedTuple):
    """How the values along an axis are enlarged to pixels, bilinearly.

    Attributes:
        first: the value before each pixel, ``(pixels,)``.
        second: the value behind it.
        share: share of the second.
        parts: pixels of each part, from and to.
        read: values that each part is made of, from and to.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    parts: list[tuple[int, int]]
    read: list[tuple[int, int]]


class Part(NamedTuple):
    """The values of a part of the image at one scale, and how they are enlarged.

    Attributes:
        values: ``(C + 1, h, w)``.
        above: the value above each row of pixels.
        below: the value below it.
        down: share of the latter.
        left: the value left of each column of pixels.
        right: the value right of it.
        across: share of the latter.
    """

    values: Tensor
    above: Tensor
    below: Tensor
    down: Tensor
    left: Tensor
    right: Tensor
    across: Tensor

    def enlarged(self, some: Tensor) -> Tensor:
        """Return the pixels of some channels, ``(K, height, width)``."""
        values = self.values[some]
        rows = values[:, self.above].lerp(values[:, self.below], self.down[:, None])
        return rows[:, :, self.left].lerp(rows[:, :, self.right], self.across)


def axis_of(length: int, pixels: int, like: Tensor) -> Axis:
    """Return how ``length`` values are enlarged to so many pixels, as torch does it.

    Args:
        length: number of values.
        pixels: number of pixels.
        like: tensor whose device and type the shares have.

    Example:
        >>> axis = axis_of(2, 4, torch.zeros(1))
        >>> axis.first.tolist(), axis.second.tolist(), axis.share.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.25])
    """
    centres = torch.arange(pixels, device=like.device, dtype=like.dtype) + 0.5
    places = (centres * (length / pixels) - 0.5).clamp(min=0)
    first = places.long().clamp(max=length - 1)
    second = (first + 1).clamp(max=length - 1)
    side = PART if like.device.type == "cpu" else PART_OF_GPU
    parts = [(start, min(start + side, pixels)) for start in range(0, pixels, side)]
    begins, ends = first.tolist(), second.tolist()
    read = [(begins[start], ends[stop - 1] + 1) for start, stop in parts]
    return Axis(first, second, places - first, parts, read)


def upper_bounds(maps: Tensor, down: Axis, across: Axis) -> Tensor:
    """Return the most that maps can be in each part of the enlarged image.

    Args:
        maps: ``(C, h, w)``.
        down: how rows are enlarged.
        across: how columns are.

    Returns:
        ``(C, parts down, parts across)``.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])
        >>> upper_bounds(maps, axis_of(1, 1, maps), axis_of(4, 64, maps))
        tensor([[[2., 3.]]])
    """
    rows = torch.stack([maps[:, begin:end].amax(dim=1) for begin, end in down.read], dim=1)
    return torch.stack([rows[..., begin:end].amax(dim=-1) for begin, end in across.read], dim=-1)


def part_of(maps: Tensor, down: Axis, across: Axis, row: int, column: int) -> Part:
    """Return a part of maps and how it is enlarged.

    Args:
        maps: ``(C, h, w)``.
        down: how rows are enlarged.
        across: how columns are.
        row: number of the part from above.
        column: its number from the left.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0]]])
        >>> part = part_of(maps, axis_of(1, 1, maps), axis_of(2, 4, maps), 0, 0)
        >>> part.enlarged(torch.tensor([0]))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    values = maps[:, slice(*down.read[row]), slice(*across.read[column])]
    return Part(values, *_weights(down, row), *_weights(across, column))


def _weights(axis: Axis, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return of which values of a part each of its pixels is made, and the share of the second."""
    pixels, begin = slice(*axis.parts[number]), axis.read[number][0]
    return axis.first[pixels] - begin, axis.second[pixels] - begin, axis.share[pixels]
