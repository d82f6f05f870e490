"""Where a run goes on: its folder, and the last whole checkpoint in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from fsr._core.distributed import gather_objects
from fsr._core.files import clear_unfinished
from fsr._core.optional import import_extra
from fsr.errors import ConfigError, InputError
from fsr.train._checkpoints import Found, last_whole, list_checkpoints
from fsr.train._checks import check_same_run
from fsr.train._options import Config
from fsr.train._parts import Parts
from fsr.train._state import checkpoint_files, read_state, restore, run_folder
from fsr.train._writing import check_output, writing

T = TypeVar("T")
CHECKPOINTS = "checkpoints"
# Files of a run's folder that a killed process may have left unfinished under a hidden name.
WRITTEN = (
    "about.json",
    "log.jsonl",
    "pictures.json",
    "report.html",
    "results.json",
    "scores.json",
    "sheet.png",
    "student.safetensors",
    "teacher.safetensors",
    "tracker.json",
)


class Resumed(NamedTuple):
    """Completed steps, the seconds that they took, and what to tell of the checkpoints."""

    step: int = 0
    seconds: float = 0.0
    told: tuple[str, ...] = ()


def choose_folder(config: Config, *, main: bool, resume: bool) -> Path:
    """Return the folder of the run, in every process; one can write into it.

    What a killed process left unfinished there is taken away.

    Args:
        config: options of the run.
        main: whether this is the main process.
        resume: whether the run goes on.

    Raises:
        ConfigError: nothing can be written there.
    """

    def choose() -> Path:
        folder = run_folder(config.run.output, resume=resume)
        check_output(folder)
        clear_unfinished(folder / name for name in WRITTEN)
        return folder

    return _decided(choose, main, ConfigError)


def go_on(config: Config, folder: Path, parts: Parts) -> Resumed:
    """Restore the last whole checkpoint, if there is one.

    Args:
        config: options of the run.
        folder: folder of the run.
        parts: networks and optimiser, which are given what was saved.

    Raises:
        ConfigError: an option differs that the run was started with.
        InputError: no checkpoint is whole, or it cannot be read.
        ResourceError: one that is not whole cannot be renamed.
    """
    checkpoint, told = _find(folder / CHECKPOINTS, parts)
    if checkpoint is None:
        return Resumed()
    state = read_state(checkpoint)
    check_same_run(config, state["config"])
    restore(checkpoint, modules=parts.modules, optimizer=parts.optimizer.optimizer)
    scaler = parts.accelerator.scaler
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return Resumed(state["step"], state["seconds"], tuple(told))


def agree(value: Any) -> Any:
    """Return the main process's value in every process."""
    utils = import_extra("accelerate.utils", "train", "fsr.train")
    return utils.broadcast_object_list([value])[0]


def _find(folder: Path, parts: Parts) -> Found:
    """Let the main process find the checkpoint to go on from; all go on from that, or raise."""

    def find() -> Found:
        with writing(folder):
            return last_whole(folder, checkpoint_files(parts.modules))

    found = _decided(find, parts.accelerator.is_main_process, InputError)
    check_shared(folder)
    return found


def check_shared(folder: Path) -> None:
    """Refuse to go on unless every process sees the same checkpoints.

    On machines with disks of their own the others would start from nothing, or from another step.

    Args:
        folder: where checkpoints lie.

    Raises:
        InputError: they differ.
    """
    seen = gather_objects([path.name for _, path in list_checkpoints(folder)])
    if any(names != seen[0] for names in seen):
        told = "; ".join(
            f"process {rank}: {', '.join(names) or 'none'}" for rank, names in enumerate(seen)
        )
        raise InputError(
            f"{folder}: expected the same checkpoints in all processes, got {told}; put run.output "
            "into a folder that all machines share"
        )


def _decided(decide: Callable[[], T], main: bool, kind: type[Exception]) -> T:
    """Let the main process decide; all take what it returns, or raise its error of a kind."""
    found, fault = None, ""
    if main:
        try:
            found = decide()
        except kind as error:
            fault = str(error)
    found, fault = agree((found, fault))
    if fault:
        raise kind(fault)
    return cast(T, found)
