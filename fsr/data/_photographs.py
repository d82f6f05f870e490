"""People's own photographs, read as viewers show them: upright, in 8 bits, nothing transparent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fsr.data._colours import is_plain
from fsr.data._opening import open_image
from fsr.data._reading import Reading, ReadingChanges, orientation

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What files in a folder are taken for images; files that are named themselves may end in anything.
IMAGE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".hif",
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


def image_size(path: Path, **reading: Unpack[ReadingChanges]) -> tuple[int, int]:
    """Height and width of an image from the head of its file, without decoding it.

    Args:
        path: image file.
        reading: fields of :class:`Reading`, such as ``orient``: whether of the upright image.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, or is too large.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.new("RGB", (4, 3)).save(path)
        >>> image_size(path)
        (3, 4)
    """
    return Reading(**reading).size(path)


def read_photograph(path: Path, **reading: Unpack[ReadingChanges]) -> Image.Image:
    """Read an image file as 8-bit RGB, as viewers show it.

    Cameras store photographs as the sensor lies and note in the EXIF data how to turn them;
    viewers do, and so does :class:`fsr.data.FolderDataset`. PASCAL VOC and MS COCO are read as
    stored, since their masks fit the stored pixels.
    What is transparent shows a plain colour. Grey, palette, CMYK, YCbCr and CIELAB images are
    converted; profiles of colour are not applied. Pixels of more than 8 bits are brought to 8 by
    the range that they truly have, floating-point ones too. Of an animation, or of a TIFF of
    several pages, the first image is taken. HEIC needs the extra ``heic``.

    Args:
        path: image file.
        reading: fields of :class:`Reading`, such as ``orient=False`` or ``background="black"``.

    Returns:
        RGB image.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, is damaged, is too large, needs a package that is not
            there, or holds pixels of no known range.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "cut out.png"
        >>> Image.new("LA", (4, 3), (90, 0)).save(path)
        >>> read_photograph(path).getpixel((0, 0))
        (255, 255, 255)
    """
    return Reading(**reading).image(path)


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
    return Reading(orient=False).image(path)


def shows_its_pixels(path: Path) -> bool:
    """Tell whether every reader sees the same in an image file: no EXIF rotation, 8 bits, opaque.

    Args:
        path: a sound image file, of any size.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for mode in ("RGB", "RGBA"):
        ...     Image.new(mode, (4, 3)).save(folder / f"{mode}.png")
        >>> shows_its_pixels(folder / "RGB.png"), shows_its_pixels(folder / "RGBA.png")
        (True, False)
    """
    with open_image(path, max_pixels=1 << 62) as image:
        return is_plain(image) and orientation(image) == 1
