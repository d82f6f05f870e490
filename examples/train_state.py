"""What a run leaves on disk: its folder, its log, and checkpoints that a kill cannot spoil.

A checkpoint is a folder of safetensors and JSON that appears under its name in one move, so it is
either whole or not there. Nothing in it is pickled. There is no random state in it either: order,
augmentation, masks and DropPath are functions of the seed and the step.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fsr import SingleStageSegmenter

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


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a kill, sees the old or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return strict JSON: numbers that JSON has no word for become null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class JsonLog:
    """A log of one JSON record a line, each flushed; records after a resumed step are dropped.

    Args:
        path: the file; its folder is made.
        step: completed step from which the run goes on; records after it are dropped, and so is a
            last line that a kill left unfinished.
    """

    def __init__(self, path: Path, *, step: int = 0) -> None:
        self.path = path
        kept = [record for record in read_log(path) if record["step"] <= step]
        write_atomically(path, "".join(to_json(record) + "\n" for record in kept))
        self._kept = kept
        self._file = path.open("a", encoding="utf-8")

    def kept(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind that were there before."""
        return [record for record in self._kept if record["kind"] == kind]

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append a record."""
        self._file.write(to_json({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log up to the first line that is not whole; none if no file."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            return
        yield record


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
                save_file({k: v.contiguous() for k, v in module.state_dict().items()}, file)
        save_file(_optimizer_tensors(optimizer), scratch / "optimizer.safetensors")
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
