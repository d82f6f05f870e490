"""Opening image files: what is no plain file, too large, or needs another package is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from fsr._core.optional import import_extra
from fsr._core.regular import check_regular
from fsr.errors import DataError, MissingDataError

# What stands in bytes 8 to 12 of files that hold one image of these kinds.
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_LIMIT = threading.Lock()


def open_image(path: Path, max_pixels: int | None = None) -> Image.Image:
    """Open an image file without decoding it.

    Args:
        path: image file; named pipes, devices and sockets are never opened.
        max_pixels: pixels that an image may have; None for Pillow's limit, twice its
            ``Image.MAX_IMAGE_PIXELS``.

    Returns:
        The image; whoever opens it closes it.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, needs a package that is not there, or is too large; the
            message says what to do.
    """
    check_regular(path)
    try:
        return _within_limit(path, max_pixels)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    # A damaged head shows as many kinds of error.
    except Exception as error:
        reason = _reason(path, error)
        raise DataError(f"{path}: cannot be read as an image ({reason})") from error


def decoded(image: Image.Image, path: Path) -> Image.Image:
    """Decode all of an opened image: a truncated file is found here and not later.

    Raises:
        DataError: the file is damaged.
    """
    try:
        image.load()
    # Pillow's readers report a damaged file as errors of many kinds.
    except Exception as error:
        raise DataError(f"{path}: the image is damaged ({error})") from error
    return image


@contextmanager
def without_limit(pixels: int | None = None) -> Iterator[None]:
    """Lift Pillow's limit for a moment: it cuts no part out of an image that is larger, either.

    Args:
        pixels: of a picture that was read; the limit stays for one that is within it.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if pixels is not None and (limit is None or pixels <= 2 * limit):
        yield
        return
    # Pillow knows its limit as a variable of its module alone.
    with _LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _within_limit(path: Path, max_pixels: int | None) -> Image.Image:
    """Open an image of at most so many pixels."""
    if max_pixels is None:
        try:
            return _opened(path)
        except Image.DecompressionBombError:
            max_pixels = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    with without_limit():
        image = _opened(path)
    pixels = image.width * image.height
    if pixels > max_pixels:
        image.close()
        raise DataError(
            f"{path}: {image.width} x {image.height} are {pixels} pixels, more than the "
            f"{max_pixels} that are read unless asked for: shrink the image or cut it into tiles, "
            f"or allow it with --max-pixels {pixels} (data.max_pixels in training, max_pixels in "
            "Python)"
        )
    return image


def _opened(path: Path) -> Image.Image:
    """Open a file by what it holds, whatever its ending says."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if _brand(path) not in _HEIC:
            raise
    heif: Any = import_heif()
    image: Image.Image = heif.HeifImageFile(str(path))
    return image


def import_heif() -> Any:
    """Return the package that reads HEIC.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    return import_extra("pillow_heif", "heic", "HEIC, as telephones write it,")


def _brand(path: Path) -> bytes:
    """Return which kind of image a file of boxes says that it holds, nothing of other files."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[8:] if head[4:8] == b"ftyp" else b""


def _reason(path: Path, error: Exception) -> str:
    """Say why a file cannot be opened as an image, without naming it again."""
    if not isinstance(error, UnidentifiedImageError):
        return str(error) or type(error).__name__
    if path.stat().st_size == 0:
        return "the file is empty"
    if _brand(path) in _AVIF:
        return "this Pillow reads no AVIF: pip install 'pillow>=11.3'"
    return "cannot identify image file"
