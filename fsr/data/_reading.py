"""How image files become pictures: turned, on what background, of what depth, how large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from PIL import Image, ImageColor, ImageOps
from torch import Tensor

from fsr._core.checks import check_positive_int
from fsr.data._colours import Colour, to_rgb
from fsr.data._files import read_label_map
from fsr.data._opening import decoded, open_image
from fsr.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

_ORIENTATION = 0x0112
_UPRIGHT, _LYING = 1, (5, 6, 7, 8)
# Orientations that undo these.
_UNDONE = {6: 8, 8: 6}
_MOST_BITS = 32


class ReadingChanges(TypedDict, total=False):
    """The fields of :class:`Reading` as keywords."""

    orient: bool
    background: str
    max_pixels: int | None
    bits: int | None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How image files become pictures, and how large they may be.

    Args:
        orient: turn photographs upright as their EXIF data say, as viewers do; False leaves them as
            they are stored.
        background: colour under transparent pixels, a name or ``#rrggbb``. Colours that a file
            holds where nothing shows have no effect, opaque pixels stay as they are.
        max_pixels: pixels that an image may have; larger ones are refused, as an image takes
            several times its pixels in memory. None: Pillow's limit, twice its
            ``Image.MAX_IMAGE_PIXELS``, 178,956,970 unless the program changed it.
        bits: bits of pixels that have more than 8. None: as the file says, else 8 or 12 if these
            hold all values of the image, else 16.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of range, or no colour.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "cut out.png"
        >>> Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(path)
        >>> Reading().image(path).getpixel((0, 0)), Reading().size(path)
        ((255, 255, 255), (3, 4))
        >>> Reading(background="black").image(path).getpixel((0, 0))
        (0, 0, 0)
    """

    orient: bool = True
    background: str = "white"
    max_pixels: int | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.orient, bool):
            raise TypeError(f"orient: expected True or False, got {self.orient!r}")
        _colour(self.background)
        if self.max_pixels is not None:
            check_positive_int("max_pixels", self.max_pixels)
        if self.bits is not None:
            check_positive_int("bits", self.bits)
            if self.bits > _MOST_BITS:
                raise ValueError(f"bits: expected at most {_MOST_BITS}, got {self.bits}")

    def image(self, path: Path) -> Image.Image:
        """Read an image file as 8-bit RGB, see :func:`fsr.data.read_photograph`."""
        with open_image(path, self.max_pixels) as opened:
            return self.picture(opened, path)

    def picture(self, image: Image.Image, path: Path | None = None) -> Image.Image:
        """Bring an opened image to 8-bit RGB as a file of it would be, see :meth:`image`.

        Args:
            image: the image, decoded or not; it stays as it is.
            path: what messages call it, and where the lower bits of colours of 16 bits are read;
                by default the file that Pillow opened it from. Without a file colours have the 8
                bits that Pillow keeps.

        Raises:
            DataError: the image is damaged, or holds pixels of no known range.

        Example:
            >>> Reading().picture(Image.new("L", (4, 3), 9)).getpixel((0, 0))
            (9, 9, 9)
        """
        named = path or Path(getattr(image, "filename", "") or "image")
        # Pillow turns a TIFF itself as it decodes it, and takes the note away.
        noted = orientation(image) if hasattr(image, "tag_v2") else _UPRIGHT
        try:
            rgb = to_rgb(image, named, _colour(self.background), self.bits)
        except DataError:
            raise
        except (ValueError, ImportError) as error:
            raise DataError(f"{named}: {error}") from error
        return _turned(rgb, noted, orientation(image), self.orient)

    def size(self, path: Path) -> tuple[int, int]:
        """Height and width of an image from the head of its file, without decoding it."""
        with open_image(path, self.max_pixels) as image:
            width, height = image.size
            tags: Any = getattr(image, "tag_v2", None)
            if tags is not None:  # of TIFF some releases of Pillow tell the upright size
                width, height = int(tags[256]), int(tags[257])
            turned = self.orient and orientation(image) in _LYING
        return (width, height) if turned else (height, width)

    def fault(self, path: Path) -> str:
        """Return why a file cannot be read, in one line; nothing if it can."""
        try:
            with open_image(path, self.max_pixels) as image:
                # A JPEG is decoded to an eighth: enough to find its end.
                if image.format in ("JPEG", "MPO") and image.draft("RGB", (64, 64)):
                    decoded(image, path)
                    return ""
        except DataError:
            pass  # told below, or sound at its own size
        try:
            self.image(path)
        except DataError as error:
            return str(error)
        return ""

    def target(self, mask: Path, num_classes: int, path: Path, image: Image.Image) -> Tensor:
        """Read the mask of a picture that was read.

        Args:
            mask: its mask, see :func:`fsr.data.read_label_map`.
            num_classes: number of foreground classes C.
            path: file of the picture.
            image: the picture.

        Raises:
            MissingDataError: there is no such mask.
            DataError: the mask cannot be used; the message has the option that helps where it fits
                the picture as it is stored, or upright.
        """
        with self.hinted(mask, path):
            return read_label_map(mask, num_classes, image.size, max_pixels=self.max_pixels)

    @contextmanager
    def hinted(self, mask: Path, path: Path) -> Iterator[None]:
        """Add to errors of reading a mask the option that makes its picture fit, if one does.

        Args:
            mask: the mask that is read.
            path: file of the picture.

        Raises:
            DataError: the mask cannot be used.
        """
        try:
            yield
        except MissingDataError:
            raise
        except DataError as error:
            size = Reading(orient=False, max_pixels=self.max_pixels).size(mask)
            hint = self.hint(path, size)
            if not hint:
                raise
            raise DataError(f"{error}; {hint}") from error

    def hint(self, path: Path, size: tuple[int, int]) -> str:
        """Say which option makes a picture of a size, if the way it is turned does.

        Args:
            path: file of the picture.
            size: height and width that it should have.
        """
        sizes = [replace(self, orient=orient).size(path) for orient in (self.orient, True, False)]
        if size == sizes[0] or size not in sizes:
            return ""
        if self.orient:
            return (
                f"{path} was turned upright, but this fits its pixels as they are stored: "
                "--as-stored (data.orient=false in training, orient=False in Python)"
            )
        return (
            f"{path} was read as it is stored, but this fits it upright: --upright "
            "(data.orient=true in training, orient=True in Python)"
        )

    def changed(self, **usual: Unpack[ReadingChanges]) -> str:
        """Spell the fields that change pictures where they are not the usual ones, to append.

        Args:
            usual: what is usual where it is not the default.

        Example:
            >>> Reading(background="black", max_pixels=9).changed()
            ", background='black'"
        """
        plain = Reading(**usual)
        return "".join(
            f", {name}={value!r}"
            for name, value in vars(self).items()
            if name != "max_pixels" and value != getattr(plain, name)
        )


def _colour(name: str) -> Colour:
    """Return the colour of a name."""
    if not isinstance(name, str):
        raise TypeError(f"background: expected the name of a colour, got {name!r}")
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise ValueError(
            f"background: expected a colour such as white or #808080, got {name!r}"
        ) from None


def _turned(image: Image.Image, noted: int, left: int, orient: bool) -> Image.Image:
    """Turn a decoded image upright, or as it is stored.

    Args:
        image: the image.
        noted: how a TIFF said that it is to be turned before it was decoded.
        left: how the file says that the image is to be turned once it is decoded.
        orient: whether upright.
    """
    wanted = left if orient else _UPRIGHT
    if noted != _UPRIGHT and left == _UPRIGHT and not orient:  # it was turned
        wanted = _UNDONE.get(noted, noted)
    image.getexif()[_ORIENTATION] = wanted
    return ImageOps.exif_transpose(image)


def orientation(image: Image.Image) -> int:
    """Return how EXIF data say an opened image is to be turned, 1 where they say nothing.

    Args:
        image: the opened image.
    """
    try:
        return int(image.getexif().get(_ORIENTATION, _UPRIGHT))
    # What some programs write there cannot be parsed; the image itself may be sound.
    except Exception:
        return _UPRIGHT
