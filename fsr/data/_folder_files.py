"""The files of one's own folder: the image that each row of a table means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsr.data._folder_places import Places
from fsr.data._named_files import walk
from fsr.errors import DataError, MissingDataError


def existing_folder(name: str, path: str | Path) -> Path:
    """Return a folder.

    Raises:
        MissingDataError: it is none.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise MissingDataError(f"{name}: expected a folder, got {folder}, which is {what}")
    return folder


def list_files(folder: Path) -> frozenset[str]:
    """Return the relative paths of all files, with forward slashes on every system."""
    found = frozenset(walk(folder))
    if not found:
        raise MissingDataError(f"images: expected a folder with images, got {folder}: it is empty")
    return found


def find_images(
    folder: Path,
    table: Path,
    images: Sequence[str],
    lines: Sequence[int] | NDArray[np.int64],
    present: frozenset[str],
) -> list[str]:
    """Return the path of every row's image in the folder.

    A name may lack its extension, and be written in another form of Unicode or in another case,
    where one file alone can be meant.

    Args:
        folder: folder of the images.
        table: the table, for messages.
        images: path of each image as the table has it.
        lines: line of each in the table.
        present: what :func:`list_files` found in the folder.

    Raises:
        MissingDataError: an image is not there.
        DataError: a path leaves the folder, or may mean several files.
    """
    if present.issuperset(images):
        return list(images)
    places = Places(folder, present)
    found: list[str] = []
    missing: list[tuple[int, str]] = []
    for line, image in zip(lines, images, strict=True):
        candidates = [image] if image in present else places.of_row(table, line, image)
        found += candidates
        missing += [] if candidates else [(line, image)]
    if missing:
        (line, image), others = missing[0], f" ({len(missing)} such lines)"
        raise MissingDataError(
            f"{table}: line {line}: no image {image!r} in {folder}"
            f"{others if len(missing) > 1 else ''}; {places.hint(image)}"
        )
    return found


def check_unique(
    names: Sequence[str],
    paths: Sequence[str],
    lines: Sequence[int] | NDArray[np.int64],
    table: Path,
) -> None:
    """Raise if a name stands for two lines: predictions and masks of both would be one file."""
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        other = first.setdefault(name, number)
        if other == number:
            continue
        where = f"{table}: lines {lines[other]} and {lines[number]}"
        if paths[other] == paths[number]:
            raise DataError(f"{where} both list {paths[number]}; put all its labels into one line")
        raise DataError(
            f"{where}: {paths[other]} and {paths[number]} differ in their extension alone, but "
            "a name stands for one image: rename one of the files"
        )
