"""The maps of tiles put together as they come, with little more held than the label map."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr.inference._tiling import Tiling


class Mosaic:
    """Blends the probabilities of tiles, and labels each pixel once all its tiles are there.

    Where tiles overlap, probabilities are averaged with :meth:`Tiling.weights`. Of what was added,
    only the parts that a later tile shares are kept: right of the last tile, and below the last row
    of tiles.

    Args:
        tiling: where the tiles are.
        channels: C + 1.
        keep: whether probabilities are wanted, ``channels`` whole maps.

    Attributes:
        labels: label map ``(height, width)`` int64, done once :attr:`complete`.
        probabilities: ``(C + 1, height, width)`` if kept, else None.

    Example:
        >>> mosaic = Mosaic(Tiling((1, 6), (1, 4), (0,), (0, 2)), channels=2, keep=True)
        >>> for certain in (0.0, 1.0):
        ...     mosaic.add(torch.tensor([1 - certain, certain]).view(2, 1, 1).expand(2, 1, 4))
        >>> mosaic.complete, mosaic.labels.tolist(), mosaic.probabilities[1].tolist()
        (True, [[0, 0, 0, 1, 1, 1]], [[0.0, 0.0, 0.25, 0.75, 1.0, 1.0]])
    """

    def __init__(self, tiling: Tiling, channels: int, *, keep: bool) -> None:
        self.tiling = tiling
        self.labels = torch.zeros(tiling.size, dtype=torch.long)
        self.probabilities = torch.zeros(channels, *tiling.size) if keep else None
        self._rows, self._columns = tiling.weights()
        self._count = 0
        self._right = torch.zeros(channels, tiling.side[0], 0)
        steps = _steps(tiling.tops, tiling.size[0])
        shared = max((tiling.side[0] - step for step in steps[:-1]), default=0)
        self._below = torch.zeros(channels, shared, tiling.size[1])

    @property
    def complete(self) -> bool:
        """Whether every tile was added."""
        return self._count == len(self.tiling.tops) * len(self.tiling.lefts)

    def add(self, maps: Tensor) -> None:
        """Add the probabilities ``(C + 1, *side)`` of the next tile, row by row."""
        row, column = divmod(self._count, len(self.tiling.lefts))
        block = maps.cpu().float() * (self._rows[row][:, None] * self._columns[column])
        block[:, :, : self._right.shape[2]] += self._right
        done = _steps(self.tiling.lefts, self.tiling.size[1])[column]
        self._right = block[:, :, done:].clone()
        self._settle(row, self.tiling.lefts[column], block[:, :, :done])
        self._count += 1

    def _settle(self, row: int, left: int, block: Tensor) -> None:
        """Take columns that no later tile of this row shares."""
        columns = slice(left, left + block.shape[2])
        top, high = self.tiling.tops[row], self.tiling.side[0]
        if row > 0:
            shared = self.tiling.tops[row - 1] + high - top
            block[:, :shared] += self._below[:, :shared, columns]
        done = _steps(self.tiling.tops, self.tiling.size[0])[row]
        self._below[:, : high - done, columns] = block[:, done:]
        settled, rows = block[:, :done], slice(top, top + done)
        torch.argmax(settled, dim=0, out=self.labels[rows, columns])
        if self.probabilities is not None:
            self.probabilities[:, rows, columns] = settled


def _steps(starts: tuple[int, ...], length: int) -> list[int]:
    """Return from each start the pixels to the next one, from the last to the end."""
    ends = (*starts[1:], length)
    return [end - start for start, end in zip(starts, ends, strict=True)]
