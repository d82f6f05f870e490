"""The folder of VOC's layout, looked for where people unpack it."""

from __future__ import annotations

from pathlib import Path

from fsr.errors import MissingDataError


def held(folder: Path) -> str:
    """Return what a folder holds, for messages."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def find_voc_root(root: Path) -> Path:
    """Return the folder that holds ``JPEGImages``."""
    for candidate in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (candidate / "JPEGImages").is_dir():
            return candidate
    found = f"which holds {held(root)}" if root.is_dir() else "which is no folder"
    raise MissingDataError(
        "root: expected a folder that holds JPEGImages, VOC2012/JPEGImages or "
        f"VOCdevkit/VOC2012/JPEGImages, got {root}, {found}"
    )
