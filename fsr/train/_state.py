"""What a run can go on from: its folder, and checkpoints that a kill cannot spoil.

A checkpoint is a folder of safetensors and JSON that appears under its name in one move, its
manifest written last, so it is either whole or not there. Nothing in it is pickled. There is no
random state in it either: order, augmentation, masks and DropPath are functions of the seed and the
step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fsr._core.files import whole_file
from fsr._core.records import to_json, write_atomically
from fsr.errors import ConfigError, InputError
from fsr.segmenter import SingleStageSegmenter
from fsr.train._checkpoints import UNFINISHED, list_checkpoints, remove_checkpoint
from fsr.train._files import brief
from fsr.train._finite import check_finite_state
from fsr.train._manifest import MANIFEST, MARK, STATE, write_manifest
from fsr.train._writing import writing

OPTIMIZER = "optimizer.safetensors"


def run_folder(base: str | Path, *, resume: bool) -> Path:
    """Return the folder of the run: `base`, or `base-2`, `base-3`, ... where runs lie already.

    A new run takes the first that is free, so that nothing is ever overwritten; a resumed one the
    last that exists.

    Raises:
        ConfigError: `base` names no folder.
    """
    base = Path(base)
    if base.name in ("", ".."):
        raise ConfigError(
            f"run.output: expected the name of a new folder, such as runs/first, got {str(base)!r}"
        )
    folder, last, number = base, base, 1
    try:
        while folder.exists() and any(folder.iterdir()):
            last, number = folder, number + 1
            folder = base.with_name(f"{base.name}-{number}")
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(
            f"run.output: {brief(repr(str(folder)))} cannot be used as a folder: {why}"
        ) from None
    return last if resume else folder


def checkpoint_files(modules: Iterable[str]) -> list[str]:
    """Return the files of a checkpoint of modules of these names, but for the manifest."""
    return [*(f"{name}.safetensors" for name in modules), OPTIMIZER, STATE]


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

    Raises:
        NotFiniteError: a parameter, a buffer or the optimiser holds NaN or infinity.
        ResourceError: it cannot be written; nothing of it is left.
    """
    target = folder / f"step-{step:08d}"
    if not target.exists():
        optimizer_state = optimizer_tensors(optimizer)
        states = {name: module.state_dict() for name, module in modules.items()}
        check_finite_state(step, {**states, "optimizer": optimizer_state})
        scratch = folder / f"{UNFINISHED}{step:08d}-{os.getpid()}"
        try:
            with writing(target):
                scratch.mkdir(parents=True)
                for name, module in modules.items():
                    file = scratch / f"{name}.safetensors"
                    if isinstance(module, SingleStageSegmenter):
                        module.save(file)
                    else:
                        _save(states[name], file)
                _save(optimizer_state, scratch / OPTIMIZER)
                told = {"step": step, MARK: MANIFEST, **state}
                write_atomically(scratch / STATE, to_json(told, indent=2))
                write_manifest(scratch, step)
                for file in scratch.iterdir():
                    _to_disk(file)
                scratch.replace(target)
                _to_disk(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # all of it has moved where all went well
    for _, old in list_checkpoints(folder)[:-keep]:
        remove_checkpoint(old)
    return target


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def restore(checkpoint: Path, *, modules: dict[str, nn.Module], optimizer: Optimizer) -> None:
    """Load a checkpoint into modules and optimiser that were built as for the saved run.

    Raises:
        InputError: a file cannot be read, or holds another network or optimiser.
    """
    for name, module in modules.items():
        file = checkpoint / f"{name}.safetensors"
        try:
            module.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise InputError(f"{file}: cannot go on from it: {_one_line(error)}") from error
    file = checkpoint / OPTIMIZER
    try:
        _restore_optimizer(load_file(file), optimizer)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"{file}: cannot go on from it: {_one_line(error)}") from error


def _restore_optimizer(tensors: dict[str, Tensor], optimizer: Optimizer) -> None:
    """Give an optimiser what was saved of it."""
    saved: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        saved.setdefault(name, {})[entry] = value
    names = [name for group in optimizer.param_groups for name in group["parameter_names"]]
    if unknown := saved.keys() - set(names):
        raise ValueError(f"it is of {len(unknown)} other parameters, {min(unknown)!r} for one")
    packed = optimizer.state_dict()
    # torch's optimisers number their parameters; names survive a change of the grouping.
    packed["state"] = {i: saved[name] for i, name in enumerate(names) if name in saved}
    optimizer.load_state_dict(packed)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors with the permissions of any new file."""
    with whole_file(path) as draft:
        save_file({name: value.contiguous() for name, value in tensors.items()}, draft)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as `parameter/entry` -> tensor."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["parameter_names"], group["params"], strict=True):
            for entry, value in optimizer.state[parameter].items():
                tensors[f"{name}/{entry}"] = torch.as_tensor(value).detach().contiguous()
    return tensors


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
