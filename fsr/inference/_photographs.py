"""People's own photographs: finding the files, naming their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fsr.data import IMAGE_SUFFIXES, image_size, read_photograph
from fsr.errors import DataError, MissingDataError

__all__ = ["IMAGE_SUFFIXES", "ImageFile", "find_images", "image_size", "read_photograph"]


class ImageFile(NamedTuple):
    """An image file and the name of what is made of it.

    Attributes:
        path: the file.
        name: relative path without suffix, with ``/`` between folders; unlike that of any other
            file found with it.
    """

    path: Path
    name: str


def find_images(paths: str | Path | Iterable[str | Path]) -> list[ImageFile]:
    """Image files behind paths of files and folders, each once, with a name of its own.

    Folders are searched with all folders inside them, in the order of their names; what does not
    end like an image there (``fsr.data.IMAGE_SUFFIXES``), and hidden files and folders,
    is left out. Files that are named themselves may end in anything.

    A file's name is its path inside the folder given, or just its own name for a file given, less
    the suffix; of several folders given, each puts its own name in front. Where two names would be
    the same, as those of ``a.jpg`` and ``a.png``, both keep their suffix, and where that is not
    enough, more of the path.

    Args:
        paths: one or several files and folders.

    Returns:
        The files in the order of the paths.

    Raises:
        MissingDataError: a path does not exist.
        DataError: a folder holds no image, or no path is given.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.jpg", "a.png", "b.jpg", "notes.txt"):
        ...     _ = (folder / name).write_bytes(b"")
        >>> [file.name for file in find_images(folder)]
        ['a.jpg', 'a.png', 'b']
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not given:
        raise DataError("paths: expected at least one image file or folder, got none")
    several = sum(path.is_dir() for path in given) > 1
    found: dict[Path, Path] = {}
    for path in given:
        if path.is_dir():
            inside = list(_images_in(path))
            if not inside:
                raise DataError(
                    f"{path}: expected image files ({', '.join(IMAGE_SUFFIXES)}) in this folder or "
                    "in folders inside it, got none"
                )
            for file in inside:
                relative = file.relative_to(path)
                found.setdefault(
                    file, Path(path.resolve().name) / relative if several else relative
                )
        elif path.exists():
            found.setdefault(path, Path(path.name))
        else:
            raise MissingDataError(f"{path}: no such file or folder")
    return [
        ImageFile(path, name)
        for path, name in zip(found, _distinct_names(list(found.items())), strict=True)
    ]


def _images_in(folder: Path) -> Iterator[Path]:
    """Yield the image files in a folder and below, in order, hidden ones left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(parent) / name


def _distinct_names(files: Sequence[tuple[Path, Path]]) -> list[str]:
    """Return a name for every (path, relative path); longer ones where shorter ones coincide."""
    forms = []
    for path, relative in files:
        absolute = Path(os.path.abspath(path))
        inner = Path(absolute.parents[len(relative.parts) - 1].name) / relative
        whole = absolute.relative_to(absolute.anchor)
        forms.append(
            [p.as_posix() for r in (relative, inner, whole) for p in (r.with_suffix(""), r)]
        )
    level = [0] * len(files)
    while True:
        names = [form[number] for form, number in zip(forms, level, strict=True)]
        count = Counter(names)
        crowded = [
            index
            for index, name in enumerate(names)
            if count[name] > 1 and level[index] < len(forms[index]) - 1
        ]
        if not crowded:
            return names
        for index in crowded:
            level[index] += 1
