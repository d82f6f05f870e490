"""People's own photographs: finding the files, naming their results."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fsr.data import IMAGE_SUFFIXES, image_size, read_photograph
from fsr.errors import DataError, MissingDataError
from fsr.inference._photograph_search import CLASSES, FolderSearch

__all__ = ["IMAGE_SUFFIXES", "Found", "ImageFile", "find_images", "image_size", "read_photograph"]


class ImageFile(NamedTuple):
    """An image file and the name of what is made of it.

    Attributes:
        path: the file.
        name: relative path without suffix, with ``/`` between folders; unlike that of any other
            file found with it.
    """

    path: Path
    name: str


class Found(NamedTuple):
    """What a search for image files came to.

    Attributes:
        files: the files.
        left_out: what was not taken for an image and why, one line each.
        failed: folders that cannot be read, one line each.
    """

    files: list[ImageFile]
    left_out: list[str]
    failed: list[str]


def find_images(
    paths: str | Path | Iterable[str | Path],
    *,
    output: str | Path | None = None,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
) -> list[ImageFile]:
    """Image files behind paths of files and folders, each once, with a name of its own.

    Folders are searched with all folders inside them, in the order of their names; what does not
    end like an image there (``fsr.data.IMAGE_SUFFIXES``), and hidden files and folders,
    is left out, and so are folders behind links, and what :class:`PredictionWriter` or
    :func:`export_pseudo_labels` wrote. Files that are named themselves may end in anything.

    A file's name is its path inside the folder given, or just its own name for a file given, less
    the suffix; of several folders given, each puts its own name in front. Where two names would be
    the same, as those of ``a.jpg`` and ``a.png``, both keep their suffix, and where that is not
    enough, more of the path.

    Args:
        paths: one or several files and folders.
        output: folder that results will be written to: what lies in its folders of results is never
            taken for an image, even if it is named itself.
        suffixes: what images in folders end in.

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
    return search_images(paths, output=output, suffixes=suffixes).files


def search_images(
    paths: str | Path | Iterable[str | Path],
    *,
    output: str | Path | None = None,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
) -> Found:
    """Find image files as :func:`find_images` does, and tell what was left out.

    Args:
        paths: one or several files and folders.
        output: folder that results will be written to.
        suffixes: what images in folders end in.

    Returns:
        The files, what was left out, and what cannot be read.

    Raises:
        MissingDataError: a path does not exist.
        DataError: there is no image, or no path is given.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.jpg", "notes.txt"):
        ...     _ = (folder / name).write_bytes(b"")
        >>> search_images(folder).left_out
        ['1 files that do not end like an image (.txt)']
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not given:
        raise DataError("paths: expected at least one image file or folder, got none")
    search = FolderSearch(None if output is None else Path(output), tuple(suffixes))
    inside: dict[Path, list[Path]] = {}
    single: list[Path] = []
    for path in given:
        if path.is_dir():
            inside[path] = list(search.images_in(path))
            if not inside[path] and not search.holds_results(path):
                raise DataError(
                    f"{path}: expected image files ({', '.join(suffixes)}) in this folder or "
                    "in folders inside it, got none"
                )
        elif not path.exists():
            raise MissingDataError(f"{path}: no such file or folder")
        elif search.takes(path):
            single.append(path)
    several = sum(bool(files) for files in inside.values()) > 1
    found: dict[Path, Path] = {}
    for path in given:
        for file in inside.get(path, [path] if path in single else []):
            relative = file.relative_to(path) if path in inside else Path(file.name)
            above = [path.resolve().name] if path in inside and several else []
            found.setdefault(file, Path(*above, relative))
    if not found:
        raise DataError(
            f"{given[0]}: expected image files, got nothing but results of earlier runs"
        )
    names = _distinct_names(list(found.items()))
    files = [ImageFile(path, name) for path, name in zip(found, names, strict=True)]
    return Found(files, search.left_out(), search.failed)


def check_apart(files: Sequence[ImageFile], folder: Path) -> None:
    """Raise if a file system that ignores case would take the results of two images for one.

    Args:
        files: the images.
        folder: where the results go; it holds ``classes.txt`` already.

    Raises:
        DataError: two names differ in the case of their letters or the form of accents alone.

    Example:
        >>> import tempfile
        >>> check_apart([ImageFile(Path("A.jpg"), "A")], Path(tempfile.mkdtemp()))
    """
    if not (folder / CLASSES.upper()).exists():
        return
    first: dict[str, ImageFile] = {}
    for file in files:
        other = first.setdefault(unicodedata.normalize("NFC", file.name).casefold(), file)
        if other is not file:
            raise DataError(
                f"{file.path}: its results would replace those of {other.path}, as the names in "
                f"{folder} do not tell letters by their case: rename one, or write elsewhere"
            )


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
