"""Label Studio's form of a brushed mask: run lengths packed bit by bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsr.formats._runs import run_lengths

# Bits of a length: each run takes the shortest that holds it.
_SIZES = (3, 6, 10, 16)
_WORD = 8  # bits of a value
_CHANNELS = 4  # a brushed mask is a picture of red, green, blue and alpha, here all the same


def brush_runs(pixels: NDArray[np.bool_]) -> list[int]:
    """Pack a mask as Label Studio's ``brushlabels`` hold it, ``format: rle``.

    The packed stream is a head (number of values, bits of a value, four sizes of lengths) and
    runs: a bit 1, two bits for the size, the length less one, the value.

    Args:
        pixels: mask ``(height, width)``.

    Returns:
        Bytes, as integers.

    Raises:
        TypeError: ``pixels`` is no boolean array.
        ValueError: it has no pixel, or more values than the head can count.

    Source:
        The format ``rle-pack`` of thi.ng/umbrella, which Label Studio stores brushed masks in.

    Example:
        >>> brush_runs(np.array([[False, True]]))[:4]
        [0, 0, 0, 8]
    """
    lengths = run_lengths(pixels)
    count = pixels.size * _CHANNELS
    if not 0 < count < 1 << 32:
        raise ValueError(f"pixels: expected 1 to {(1 << 30) - 1} pixels, got {pixels.size}")
    bits = [f"{count:032b}", f"{_WORD - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    longest = 1 << _SIZES[-1]
    for number, length in enumerate(lengths):
        value = f"{255 * (number % 2):0{_WORD}b}"
        left = length * _CHANNELS
        while left > 0:
            bits.append(f"1{_length(min(left, longest) - 1)}{value}")
            left -= longest
    stream = np.frombuffer("".join(bits).encode(), dtype=np.uint8) - ord("0")
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def _length(value: int) -> str:
    """Return which size a length takes, and the length in it."""
    choice = next(index for index, size in enumerate(_SIZES) if value < 1 << size)
    return f"{choice:02b}{value:0{_SIZES[choice]}b}"
