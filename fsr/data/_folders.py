"""Folders that tables of labels are made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fsr.errors import MissingDataError


def existing_folder(folder: str | Path) -> Path:
    """Return a folder that labels are made from; raise ``MissingDataError`` if it is none."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        what = "a file" if path.exists() else "no such folder"
        raise MissingDataError(f"{path}: expected a folder, this is {what}")
    return path


def files_below(folder: Path, suffixes: str | tuple[str, ...]) -> Iterator[Path]:
    """Yield the files in a folder and below that end in this way, in order, hidden ones not."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(parent) / name
