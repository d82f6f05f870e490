"""The masks that lie in a folder by the names of their images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fsr.data._named_files import NamedFiles, same_name, walk
from fsr.errors import MissingDataError


def find_masks(folder: Path, names: Sequence[str]) -> dict[int, Path]:
    """Return the masks that are not called as their images are; raise if one is missing.

    A score over some of the images would be another number. A mask in another case is taken where
    one alone can be meant.

    Args:
        folder: folder of the masks.
        names: names of the images.

    Returns:
        The mask of those images whose mask is not ``NAME.png``, by the image's number.
    """
    there = frozenset(walk(folder, plain=True))
    files = NamedFiles(folder, names)
    others: dict[int, Path] = {}
    missing: list[tuple[str, Path]] = []
    for number, name in enumerate(names):
        if f"{name}.png" in there:
            continue
        path = files.find(name, (".png",))
        if not os.path.isfile(path):
            missing.append((name, path))
        elif path != folder / f"{name}.png":
            others[number] = path
    if missing:
        name, path = missing[0]
        raise MissingDataError(
            f"{path}: no such mask{_mask_hint(folder, files, name)}; {len(missing)} "
            f"of {len(names)} images have none: add them, take these images out of the table, or "
            "read without masks: masks=None"
        )
    return others


def _mask_hint(folder: Path, files: NamedFiles, name: str) -> str:
    """Say which file may be the mask that was looked for."""
    other = files.near(name, ("",))
    if other:
        return f", but {other[0]!r} is there: masks end in .png"
    begin = same_name(name)
    there = sorted(walk(folder))
    longer = [path for path in there if same_name(path).startswith(begin)]
    inside = [path for path in there if same_name(_name(path)) == f"{_name(begin)}.png"]
    near = (longer or inside)[:1]
    return f", but {near[0]!r} is there: a mask has the path of its image" if near else ""


def _name(path: str) -> str:
    return path.rpartition("/")[2]
