"""Run lengths of a mask: how long it stays False, then True, then False again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def run_lengths(pixels: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask, row by row, the first of them of False.

    Args:
        pixels: mask of any shape; a mask that begins with True has a first run of 0.

    Returns:
        Lengths that add up to the number of pixels; none for no pixel.

    Raises:
        TypeError: ``pixels`` is no boolean array.

    Example:
        >>> run_lengths(np.array([[True, True, False], [False, True, True]]))
        [0, 2, 2, 2]
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.bool_:
        raise TypeError(f"pixels: expected a boolean array, got {_kind(pixels)}")
    flat = pixels.ravel()
    if not flat.size:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0] if flat[0] else []
    lengths: list[int] = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [*starts, *lengths]


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
