"""Where the neighbours of pixels lie, for the Triton kernels that read them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fsr._core.kernels import jit, tl


def offset_table(offsets: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Return rows and columns to each of n neighbours on a device, ``(n, 2)`` int32.

    A table is copied there once: the copy waits for the device.
    """
    return _table(tuple(offsets), device)


@functools.lru_cache(maxsize=16)
def _table(offsets: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    return torch.tensor(offsets, dtype=torch.int32, device=device)


@jit
def place_of(
    offsets: tl.tensor,
    neighbour: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
) -> Any:
    """Return the place of a neighbour in its plane; past the border, that of the border pixel."""
    down = row + tl.load(offsets + 2 * neighbour)
    along = column + tl.load(offsets + 2 * neighbour + 1)
    down = tl.minimum(tl.maximum(down, 0), height - 1)
    return down * width + tl.minimum(tl.maximum(along, 0), width - 1)
