"""Grey values of any depth to 8 bits, by the range that they truly have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The largest value of 8, 12 and 16 bits: cameras of 12 bits, and programs that know 8, write their
# values into files of 16 or 32 bits as they are.
_WHITES = (255, 4095, 65535)
# Floating-point pictures are from 0 to 1, or hold one of these as they are. Up to 16, a picture of
# 0 to 255 would be black to the eye: such values are of another scale.
_FLOAT_WHITES = (255.0, 65535.0)
_FLOAT_GAP = 16.0


def to_bytes(values: NDArray[Any], white: float | None = None) -> NDArray[np.uint8]:
    """Scale pixels to 8 bits.

    Args:
        values: integers or floating-point numbers of any shape, at least 0.
        white: what is white; None tells it from the values: integers are of 8, 12 or 16 bits,
            whichever holds them all, floating-point numbers of 0 to 1, or as integers.

    Returns:
        The same shape, 0 to 255.

    Raises:
        ValueError: values are negative, not finite, above ``white``, or of no known range.

    Example:
        >>> to_bytes(np.array([0, 2048, 4095])).tolist()  # of 12 bits
        [0, 127, 255]
        >>> to_bytes(np.array([0, 2048, 4095]), 65535).tolist()
        [0, 7, 15]
        >>> to_bytes(np.array([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    if not values.size:
        return values.astype(np.uint8)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("expected finite pixels, got NaN or infinity")
    if low < 0:
        raise ValueError(f"expected pixels of at least 0, got {low:g}; bring them to 0..255 first")
    if white is None:
        white = _float_white(high) if values.dtype.kind == "f" else _white(high)
    if high > white:
        raise ValueError(f"expected pixels of 0..{white:g}, got {high:g}")
    if values.dtype.kind == "f":
        return np.asarray(np.rint(values.astype(np.float64) / white * 255), dtype=np.uint8)
    wide = np.uint32 if white < 1 << 24 else np.uint64
    return np.asarray(values.astype(wide) * 255 // int(white), dtype=np.uint8)


def _white(high: float) -> int:
    """Return what is white in integers of which the largest is given."""
    for white in _WHITES:
        if high <= white:
            return white
    raise ValueError(
        f"expected pixels of at most 16 bits, got {high:g}; say how many bits they have: --bits "
        "(data.bits in training, bits in Python)"
    )


def _float_white(high: float) -> float:
    """Return what is white in floating-point numbers of which the largest is given."""
    if high <= 1.0:
        return 1.0
    for white in _FLOAT_WHITES:
        if _FLOAT_GAP <= high <= white:
            return white
    raise ValueError(
        f"floating-point pixels up to {high:g} are of no known range, expected 0..1, 0..255 or "
        "0..65535; bring them to one of these, or say how many bits they have: --bits (data.bits "
        "in training, bits in Python)"
    )
