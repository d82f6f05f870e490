"""Paths of images as lists and annotations name them: inside a folder, spelled for any system."""

from __future__ import annotations

import re
from pathlib import PurePath, PurePosixPath

from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.errors import DataError

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def turned(path: str) -> str:
    r"""Return a path with the slashes of Windows turned.

    Example:
        >>> turned("images\\a.jpg")
        'images/a.jpg'
    """
    return path.replace("\\", "/")


def image_stem(name: str) -> str:
    """Return a file name without its ending, if that is the ending of an image.

    Example:
        >>> image_stem("2007_000.032"), image_stem("a.PNG")
        ('2007_000.032', 'a')
    """
    return name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name


def check_writable(where: str, name: str) -> None:
    """Raise if no file can have this name: it is empty, holds a zero byte, or is no text.

    Args:
        where: file and place in it that the name comes from, for the message.
        name: the name.

    Raises:
        DataError: no file can.
    """
    if not name.strip():
        raise DataError(f"{where}: expected the name of an image, got {name!r}")
    if "\0" in name:
        raise DataError(f"{where}: {name!r} holds a zero byte, which no file name can")
    try:
        name.encode()
    # JSON can spell halves of characters.
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {name!r} is no text that a file could be named by") from error


def check_inside(where: str, path: str) -> str:
    r"""Return the path of an image; raise if it would leave the folder that it is looked for in.

    Args:
        where: file and place in it that the path comes from, for the message.
        path: the path, with slashes of either kind.

    Raises:
        DataError: it is absolute, has ``..`` in it, or no file can have this name.

    Example:
        >>> check_inside("a.json: images[0].file_name", "..\\a.jpg")
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: a.json: images[0].file_name: expected a path inside the folder ...
    """
    check_writable(where, path)
    pure = PurePosixPath(turned(path))
    leaves = pure.is_absolute() or _DRIVE.match(path) or PurePath(path).drive
    if leaves or ".." in pure.parts:
        raise DataError(
            f"{where}: expected a path inside the folder of the images, got {path!r}, which "
            "leaves it"
        )
    if not pure.parts:
        raise DataError(f"{where}: expected the name of an image, got {path!r}")
    return path
