"""How a large image is cut into tiles, and what each pixel of a tile counts for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.checks import check_positive_int


class Tiling(NamedTuple):
    """Tiles of an image, all of one size, row by row.

    Attributes:
        size: height and width of the image.
        side: height and width of a tile.
        tops: first row of each row of tiles.
        lefts: first column of each column of tiles.
    """

    size: tuple[int, int]
    side: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def boxes(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of every tile."""
        for top in self.tops:
            for left in self.lefts:
                yield slice(top, top + self.side[0]), slice(left, left + self.side[1])

    def weights(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights of the rows of each row of tiles, and of the columns of each column of them.

        A pixel's weight is the product of its row's and its column's; over the tiles that hold a
        pixel, weights sum to 1.
        """
        height, width = self.size
        return (
            ramps(height, self.side[0], self.tops),
            ramps(width, self.side[1], self.lefts),
        )


def plan_tiles(
    size: tuple[int, int], tile: int, overlap: int, patch: tuple[int, int]
) -> Tiling | None:
    """Cut an image into the fewest tiles of one size; None if it is not larger than a tile.

    Args:
        size: height and width of the image.
        tile: longest side of a tile.
        overlap: pixels that neighbours share at least.
        patch: height and width of a patch. Tiles begin at a multiple of it where they can, so that
            their patches are those of the whole image.

    Example:
        >>> plan_tiles((100, 64), 64, 16, (16, 16))
        Tiling(size=(100, 64), side=(64, 64), tops=(0, 36), lefts=(0,))
        >>> plan_tiles((64, 64), 64, 16, (16, 16)) is None
        True
    """
    if max(size) <= tile:
        return None
    high, tops = _places(size[0], tile, overlap, patch[0])
    wide, lefts = _places(size[1], tile, overlap, patch[1])
    return Tiling(size, (high, wide), tops, lefts)


def _places(length: int, tile: int, overlap: int, patch: int) -> tuple[int, tuple[int, ...]]:
    """Return the side of tiles along one axis, and where each begins."""
    if length <= tile:
        return length, (0,)
    count = math.ceil((length - overlap) / (tile - overlap))
    # No longer than it must be: tiles of equal size, of whole patches where these fit.
    even = math.ceil((length + (count - 1) * overlap) / count)
    side = min(tile, math.ceil(even / patch) * patch)
    last, step = length - side, (length - side) / (count - 1)
    plain = [int(number * step) for number in range(count - 1)]
    for starts in ([start // patch * patch for start in plain], plain):
        gaps = [after - before for before, after in pairwise([*starts, last])]
        if side - max(gaps) >= overlap:
            break
    return side, (*starts, last)


def ramps(length: int, side: int, starts: Sequence[int]) -> list[Tensor]:
    """Return the weights of the pixels of each tile along one axis.

    They fall linearly over what a tile shares with its neighbour, from the neighbour's far end to
    its own, so that the end of a tile, where the network sees least around, counts least.

    Args:
        length: pixels of the image.
        side: pixels of a tile.
        starts: first pixel of each tile, in order.

    Returns:
        For each tile its weights ``(side,)``; at every pixel of the image they sum to 1.

    Example:
        >>> [weights.tolist() for weights in ramps(6, 4, (0, 2))]
        [[1.0, 1.0, 0.75, 0.25], [0.25, 0.75, 1.0, 1.0]]
    """
    position = torch.arange(side, dtype=torch.float64) + 0.5
    found = []
    total = torch.zeros(length, dtype=torch.float64)
    for number, start in enumerate(starts):
        weights = torch.ones(side, dtype=torch.float64)
        if number > 0:
            shared = starts[number - 1] + side - start
            weights = torch.minimum(weights, position / shared)
        if number + 1 < len(starts):
            shared = start + side - starts[number + 1]
            weights = torch.minimum(weights, position.flip(0) / shared)
        total[start : start + side] += weights
        found.append(weights)
    return [
        (weights / total[start : start + side]).float()
        for weights, start in zip(found, starts, strict=True)
    ]


def check_tiles(
    tile: int | None, overlap: int | None, patch: tuple[int, int] | None = None
) -> tuple[int, int] | None:
    """Return the side of tiles and what they share, a quarter by default; None without tiles.

    Args:
        tile: longest side of a tile in pixels, None for no tiles.
        overlap: pixels that neighbours share at least.
        patch: height and width of a patch, where they are known.

    Raises:
        TypeError: one is no integer.
        ValueError: a tile holds no patch, or neighbours would share more than half of it.
    """
    if tile is None:
        if overlap is not None:
            raise ValueError(f"tile_overlap: expected None without tile, got {overlap}")
        return None
    check_positive_int("tile", tile)
    if patch is not None and tile < max(patch):
        raise ValueError(f"tile: expected at least a patch of {tuple(patch)} pixels, got {tile}")
    if overlap is None:
        return tile, tile // 4
    if isinstance(overlap, bool) or not isinstance(overlap, int):
        raise TypeError(f"tile_overlap: expected an integer, got {overlap!r}")
    if not 0 <= overlap <= tile // 2:
        raise ValueError(
            f"tile_overlap: expected 0 to half of the tile of {tile} pixels, got {overlap}"
        )
    return tile, overlap
