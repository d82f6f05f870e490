"""Pictures of any mode as people see them: 8-bit RGB, with nothing of what alpha hides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fsr.data._deep_colours import eight_bits, holds_16_bits
from fsr.data._depth import to_bytes
from fsr.data._opening import decoded

_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258  # TIFF's
# Formats that say how many bits their values have; Pillow brings these to 16.
_SCALED = ("PPM", "JPEG2000")

Colour = tuple[int, int, int]


def to_rgb(image: Image.Image, path: Path, background: Colour, bits: int | None) -> Image.Image:
    """Decode an opened image as 8-bit RGB.

    Args:
        image: what :func:`fsr.data._opening.open_image` returned.
        path: its file.
        background: what lies under transparent pixels.
        bits: bits of pixels that have more than 8; None tells them from the file.

    Raises:
        DataError: the file is damaged.
        ValueError: its pixels cannot be brought to 8 bits.
    """
    deep = holds_16_bits(image) and path.is_file()
    decoded(image, path)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image, background, bits)
    if deep:
        image = eight_bits(image, path, bits)
    if image.mode in _ALPHA or "transparency" in image.info:
        return _laid_over(image, background)
    return _from_lab(image) if image.mode == "LAB" else image.convert("RGB")


def is_plain(image: Image.Image) -> bool:
    """Tell whether every reader takes an opened file for the same 8-bit picture."""
    modes = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
    plain = image.mode in modes and "transparency" not in image.info
    return plain and image.format != "HEIF" and not holds_16_bits(image)


def _laid_over(image: Image.Image, background: Colour) -> Image.Image:
    """Lay an image with transparent pixels over a plain colour; opaque pixels stay as they are."""
    # Colours that were multiplied by their alpha have a way back of their own.
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    over = (image.convert(straight) if straight else image).convert("RGBA")
    under = Image.new("RGB", over.size, background)
    under.paste(over.convert("RGB"), mask=over.getchannel("A"))
    return under


def _grey(image: Image.Image, background: Colour, bits: int | None) -> Image.Image:
    """Bring grey pixels of more than 8 bits to 8."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    white = None if bits is None else 2**bits - 1
    if white is None and image.mode != "F":
        if image.format in _SCALED:
            white = 65535
        elif tags.get(_BITS_PER_SAMPLE, (16,))[0] == 12:
            white = 4095
    grey = to_bytes(values, white)
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white
        grey = 255 - grey
    hidden = image.info.get("transparency")
    if not isinstance(hidden, int):
        return Image.fromarray(grey).convert("RGB")
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[values == hidden] = background
    return Image.fromarray(rgb)


def _from_lab(image: Image.Image) -> Image.Image:
    """Convert colours of CIELAB, which Pillow does by profiles alone."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    try:
        made = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    except ImageCms.PyCMSError as error:
        raise ValueError(f"colours of CIELAB cannot be converted ({error})") from error
    return made or image
