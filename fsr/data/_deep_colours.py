"""Colours of 16 bits, of which Pillow reads the upper 8: all bits where these are not enough."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsr.data._depth import to_bytes
from fsr.data._opening import decoded, open_image

# Where the upper bytes are at most this, values are of 12 bits, or of 8.
_UPPER_OF_12_BITS = 15
# What reads the lower bytes of what the other reads the upper bytes of.
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def holds_16_bits(image: Image.Image) -> bool:
    """Tell whether an image that is opened and not decoded holds colours of 16 bits."""
    parts: Any = getattr(image, "tile", [])
    return image.mode in ("RGB", "RGBA") and any(";16" in _raw_mode(part) for part in parts)


def eight_bits(image: Image.Image, path: Path, bits: int | None) -> Image.Image:
    """Return colours of 16 bits by the range that they truly have.

    Args:
        image: the decoded image, the upper 8 bits of each value.
        path: its file.
        bits: bits that the values have; None: 8 or 12 if these hold all of them, else 16.

    Returns:
        RGB or RGBA.

    Raises:
        DataError: the file is damaged.
        ValueError: values have more than ``bits``.
    """
    upper = np.asarray(image)
    # A colour that stands for transparency is one of 16 bits.
    hidden = image.info.get("transparency")
    dark = int(upper[..., :3].max(initial=0)) <= _UPPER_OF_12_BITS
    if not dark and hidden is None and bits in (None, 16):
        return image
    values = upper.astype(np.uint16) << 8 | _lower(path, image)
    scaled = upper
    if dark or bits not in (None, 16):
        white = None if bits is None else 2**bits - 1
        parts = [to_bytes(values[..., :3], white)]
        if upper.shape[2] > 3:
            parts.append(to_bytes(values[..., 3:]))
        scaled = np.dstack(parts)
    if hidden is not None:
        alpha = (values != np.asarray(hidden, np.uint16)).any(axis=2) * np.uint8(255)
        scaled = np.dstack([scaled, alpha])
    return Image.fromarray(scaled)


def _lower(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """Read the lower 8 bits of each value."""
    with open_image(path, image.width * image.height) as again:
        source: Any = again
        source.tile = [part._replace(args=_read_otherwise(part[3])) for part in source.tile]
        grey = _raw_mode(source.tile[0]) == "RGBA"
        lower = np.asarray(decoded(again, path))
    # Of grey with alpha all four bytes of a pixel were read.
    return lower[..., [1, 1, 1, 3]] if grey else lower


def _read_otherwise(arguments: Any) -> Any:
    """Return arguments of a decoder that reads the lower bytes."""
    if not isinstance(arguments, str):
        return (_read_otherwise(arguments[0]), *arguments[1:])
    if arguments.startswith("LA;16"):
        return "RGBA"
    return arguments[:-1] + _OTHER_ORDER[arguments[-1]]


def _raw_mode(part: Any) -> str:
    """Return how the pixels of a part of an image are read."""
    arguments = part[3]
    if isinstance(arguments, str):
        return arguments
    return str(arguments[0]) if arguments else ""
