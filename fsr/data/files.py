"""Reading the files of a data set, with errors that name the file and the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr.cam import IGNORE


class DataError(ValueError):
    """A file of a data set holds something that cannot be used."""


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of a data set is not there."""


def read_image(path: Path) -> Image.Image:
    """Read a photograph as RGB, completely: a truncated file is found here and not later.

    Args:
        path: image file.

    Returns:
        RGB image as stored; an EXIF rotation is left alone, as masks know nothing of it.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image or is damaged.
    """
    with _open(path) as image:
        return _decoded(image, path).convert("RGB")


def read_label_map(path: Path, num_classes: int, size: tuple[int, int] | None = None) -> Tensor:
    """Read a mask of class indices: a palette or greyscale PNG.

    Args:
        path: mask file.
        num_classes: number of foreground classes C; labels are 0..C or 255 (ignore).
        size: width and height that the mask must have, those of its image.

    Returns:
        ``(height, width)`` int64.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, is damaged, holds colours instead of indices, has
            another size, or holds other labels.
    """
    with _open(path) as image:
        if len(image.getbands()) != 1:
            raise DataError(
                f"{path}: expected a mask of class indices (palette or greyscale PNG), got colours "
                f"(mode {image.mode}); map each colour to its class index first"
            )
        if size is not None and image.size != size:
            raise DataError(
                f"{path}: expected the size of its image, {size[0]} x {size[1]} pixels, "
                f"got {image.size[0]} x {image.size[1]}"
            )
        target = np.asarray(_decoded(image, path)).astype(np.int64)
    wrong = sorted(set(np.unique(target).tolist()) - {*range(num_classes + 1), IGNORE})
    if wrong:
        listed = ", ".join(map(str, wrong[:10])) + (", ..." if len(wrong) > 10 else "")
        raise DataError(f"{path}: expected labels in 0..{num_classes} or {IGNORE}, got {listed}")
    return torch.from_numpy(target)


def _open(path: Path) -> Image.Image:
    """Open an image file without decoding it."""
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _decoded(image: Image.Image, path: Path) -> Image.Image:
    """Decode all of an opened image."""
    try:
        image.load()
    # Some releases of Pillow report a damaged PNG as SyntaxError or ValueError.
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: the image is damaged ({error})") from error
    return image
