"""People's own photographs, read as viewers show them: upright, in 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fsr.data._files import read_image
from fsr.errors import DataError, MissingDataError

# What files in a folder are taken for images; files that are named themselves may end in anything.
IMAGE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tga",
    ".tif",
    ".tiff",
    ".webp",
)
_ORIENTATION = 0x0112


def image_size(path: Path, *, orient: bool = True) -> tuple[int, int]:
    """Height and width of an image from the head of its file, without decoding it.

    Args:
        path: image file.
        orient: of the upright image, see :func:`read_photograph`.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = orient and _orientation(image) in (5, 6, 7, 8)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    # A damaged head shows as many kinds of error, too many pixels as one of Pillow's own.
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
    return (width, height) if turned else (height, width)


def read_photograph(path: Path, *, orient: bool = True) -> Image.Image:
    """Read an image file as 8-bit RGB, upright, as viewers show it.

    Cameras store photographs as the sensor lies and note in the EXIF data how to turn them;
    viewers do, and so does :class:`fsr.data.FolderDataset`. PASCAL VOC and MS COCO are read as
    stored, since their masks fit the stored pixels.
    Grey, palette and CMYK images are converted, an alpha channel is dropped, 16-bit grey is scaled
    to 8 bits. Of an animation the first image is taken.

    Args:
        path: image file.
        orient: turn the image as its EXIF data say; False leaves it as stored.

    Returns:
        RGB image.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, is damaged, or holds floating-point pixels.
    """
    try:
        with Image.open(path) as opened:
            mode = opened.mode
            orientation = _orientation(opened) if orient else 1
            deep = np.asarray(opened) if mode == "I" or mode.startswith("I;16") else None
    except Exception:
        # The reader of the data sets says what is wrong.
        return read_image(path)
    if mode == "F":
        raise DataError(f"{path}: expected 8 or 16 bits a channel, got floating-point pixels")
    if deep is None:
        image = read_image(path)
    else:
        # Pillow would cut values above 255 off.
        image = Image.fromarray((deep.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _orientation(image: Image.Image) -> int:
    """Return how EXIF data say an opened image is to be turned, 1 where they say nothing."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    # What some programs write there cannot be parsed; the image itself may be sound.
    except Exception:
        return 1
