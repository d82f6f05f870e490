"""What a run can go on from: its folder, and checkpoints that a kill cannot spoil.

A checkpoint is a folder of safetensors and JSON that appears under its name in one move, so it is
either whole or not there. Nothing in it is pickled. There is no random state in it either: order,
augmentation, masks and DropPath are functions of the seed and the step.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fsr._core.files import whole_file
from fsr.segmenter import SingleStageSegmenter
from fsr.train._log import to_json, write_atomically

_STEP = re.compile(r"step-(\d{8})")


def run_folder(base: str | Path, *, resume: bool) -> Path:
    """Return the folder of the run: `base`, or `base-2`, `base-3`, ... where runs lie already.

    A new run takes the first that is free, so that nothing is ever overwritten; a resumed one the
    last that exists.
    """
    base = Path(base)
    folder, last, number = base, base, 1
    while folder.exists() and any(folder.iterdir()):
        last, number = folder, number + 1
        folder = base.with_name(f"{base.name}-{number}")
    return last if resume else folder


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    modules: dict[str, nn.Module],
    optimizer: Optimizer,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of a completed step, then remove all but the newest `keep`.

    Args:
        folder: where checkpoints lie.
        step: number of completed steps.
        modules: what to save, by file name; a segmenter is saved by its own `save`, so that its
            file can be loaded alone.
        optimizer: optimiser over groups that have `parameter_names`.
        state: whatever else is needed, as JSON.
        keep: checkpoints to keep, at least 1.

    Returns:
        The folder of the checkpoint. If it exists already it is left as it is.
    """
    target = folder / f"step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        scratch = folder / f".unfinished-{step:08d}-{os.getpid()}"
        scratch.mkdir()
        for name, module in modules.items():
            file = scratch / f"{name}.safetensors"
            if isinstance(module, SingleStageSegmenter):
                module.save(file)
            else:
                _save(module.state_dict(), file)
        _save(_optimizer_tensors(optimizer), scratch / "optimizer.safetensors")
        write_atomically(scratch / "state.json", to_json({"step": step, **state}, indent=2))
        for file in scratch.iterdir():
            _to_disk(file)
        scratch.replace(target)
        _to_disk(folder)
    for _, old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint, None if there is none; leftovers of a kill are removed."""
    for leftover in folder.glob(".unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = _checkpoints(folder)
    return found[-1][1] if found else None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    return state


def restore(checkpoint: Path, *, modules: dict[str, nn.Module], optimizer: Optimizer) -> None:
    """Load a checkpoint into modules and optimiser that were built as for the saved run."""
    for name, module in modules.items():
        module.load_state_dict(load_file(checkpoint / f"{name}.safetensors"))
    saved: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(checkpoint / "optimizer.safetensors").items():
        name, _, entry = key.rpartition("/")
        saved.setdefault(name, {})[entry] = value
    names = [name for group in optimizer.param_groups for name in group["parameter_names"]]
    packed = optimizer.state_dict()
    # torch's optimisers number their parameters; names survive a change of the grouping.
    packed["state"] = {i: saved[name] for i, name in enumerate(names) if name in saved}
    optimizer.load_state_dict(packed)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors with the permissions of any new file."""
    with whole_file(path) as draft:
        save_file({name: value.contiguous() for name, value in tensors.items()}, draft)


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as `parameter/entry` -> tensor."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["parameter_names"], group["params"], strict=True):
            for entry, value in optimizer.state[parameter].items():
                tensors[f"{name}/{entry}"] = torch.as_tensor(value).detach().contiguous()
    return tensors


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List the whole checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    matches = ((_STEP.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def _to_disk(path: Path) -> None:
    """Ask the system to write a file or folder out, where it can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
