"""The checkpoints of a run: which is the last whole one, and what becomes of the others.

A folder called ``step-*`` was whole when it got that name, in one move; it loses the name, in one
move again, before anything of it is removed. What a disk or a hand did to it since is told by its
manifest.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fsr.errors import InputError
from fsr.train._manifest import checkpoint_fault, has_manifest

_STEP = re.compile(r"step-(\d{8,})")
UNFINISHED, REMOVED, DAMAGED = ".unfinished-", ".removed-", "damaged-"


class Found(NamedTuple):
    """The checkpoint to go on from, None where there is none, and what to tell of the others."""

    path: Path | None
    told: list[str]


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List the checkpoints of a folder by step, oldest first."""
    if not folder.is_dir():
        return []
    matches = ((_STEP.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def last_whole(folder: Path, names: Sequence[str]) -> Found:
    """Find the newest whole checkpoint; newer ones that are not get another name.

    Leftovers of a kill are removed. Where no checkpoint is whole all are left as they are.

    Args:
        folder: where checkpoints lie.
        names: files that each must have.

    Raises:
        InputError: there are checkpoints, but none is whole.
    """
    for hidden in (UNFINISHED, REMOVED):
        for leftover in folder.glob(f"{hidden}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    damaged: list[tuple[Path, str]] = []
    for step, path in reversed(list_checkpoints(folder)):
        fault = checkpoint_fault(path, step, names)
        if fault is None:
            told = [_set_aside(bad, why, path) for bad, why in damaged]
            if not has_manifest(path):
                told.append(
                    f"{path.name} is of an earlier release and has no manifest: "
                    "its content could not be checked"
                )
            return Found(path, told)
        damaged.append((path, fault))
    if damaged:
        listed = "; ".join(f"{path.name}: {fault}" for path, fault in damaged)
        raise InputError(
            f"{folder}: no checkpoint is whole ({listed}); put a whole copy back in place of one, "
            "or start again without --resume"
        )
    return Found(None, [])


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint: its name first, so that a kill half-way leaves none that looks whole."""
    hidden = path.with_name(f"{REMOVED}{path.name}-{os.getpid()}")
    try:
        path.replace(hidden)
    except OSError:  # open elsewhere, on Windows: it stays whole, and goes the next time
        return
    shutil.rmtree(hidden, ignore_errors=True)


def _set_aside(path: Path, fault: str, taken: Path) -> str:
    """Rename a checkpoint that is not whole; return what to tell of it."""
    aside, number = path.with_name(f"{DAMAGED}{path.name}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{DAMAGED}{path.name}-{number}")
    path.replace(aside)
    return (
        f"{path.name} is not whole ({fault}): going on from {taken.name}; "
        f"it is kept as {aside}, which may be deleted"
    )
