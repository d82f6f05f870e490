"""Whether a checkpoint is whole: the digest of every file of it, in a manifest written last.

SHA-256 reads about a gigabyte a second on one core, so a checkpoint of a ViT-B with its teacher,
1.4 GB, takes a second or so more, once in ``run.checkpoint_every`` steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fsr._core.files import file_digest
from fsr._core.records import to_json, write_atomically

MANIFEST = "manifest.json"
STATE = "state.json"
# Says in a state that a manifest belongs to it: one without it is of an earlier release.
MARK = "manifest"


def write_manifest(folder: Path, step: int) -> None:
    """Write the size and the digest of every file of a checkpoint, with the step it is of.

    Args:
        folder: the checkpoint, all other files of which are written.
        step: number of completed steps.
    """
    found = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.iterdir())
    }
    write_atomically(folder / MANIFEST, to_json({"step": step, "files": found}, indent=2))


def checkpoint_fault(folder: Path, step: int, names: Iterable[str]) -> str | None:
    """Return what is wrong with a checkpoint in a few words, None if it is whole.

    One of an earlier release has no manifest; of its files only what they say of themselves is
    looked at, see :func:`has_manifest`.

    Args:
        folder: the checkpoint.
        step: number of completed steps that its name tells.
        names: files that it must have.
    """
    try:
        if not has_manifest(folder):
            return _fault_without_manifest(folder, names)
        manifest = _read(folder / MANIFEST)
        if manifest["step"] != step:
            return f"{MANIFEST} is of step {manifest['step']}"
        for name in {*names, *manifest["files"]}:
            if fault := _fault_of(folder / name, manifest["files"].get(name)):
                return fault
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} or {STATE} cannot be read ({type(error).__name__})"
    return None


def has_manifest(folder: Path) -> bool:
    """Whether a checkpoint has a manifest, or should have one."""
    if (folder / MANIFEST).exists():
        return True
    return (folder / STATE).is_file() and MARK in _read(folder / STATE)


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise TypeError(f"{path}: expected names and values, got {type(values).__name__}")
    return values


def _fault_of(path: Path, expected: dict[str, Any] | None) -> str | None:
    """Return what is wrong with a file that a manifest describes."""
    if not path.is_file():
        return f"{path.name} is missing"
    if expected is None:
        return f"{path.name} is not in {MANIFEST}"
    size = path.stat().st_size
    if size != expected["bytes"]:
        return f"{path.name} has {size} bytes instead of {expected['bytes']}"
    if file_digest(path) != expected["sha256"]:
        return f"{path.name} is not what was written"
    return None


def _fault_without_manifest(folder: Path, names: Iterable[str]) -> str | None:
    """Return the first file that is missing or that its own reader refuses."""
    for name in sorted(names):
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        try:
            if path.suffix == ".json":
                _read(path)
            else:
                with safe_open(path, framework="pt"):  # compares the length with the header
                    pass
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            return f"{name} cannot be read ({' '.join(str(error).split())})"
    return None
