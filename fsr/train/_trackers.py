"""Trackers of experiments, through Accelerate: what TensorBoard shows, in MLflow or W&B."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fsr._core.files import whole_file
from fsr._core.optional import import_extra
from fsr._core.records import to_json
from fsr._core.text import read_json
from fsr.errors import ConfigError
from fsr.train._options import Config
from fsr.train._writing import writing

# What each is called by Accelerate, by the package that it needs.
TRACKERS = {"mlflow": "MLflowTracker", "wandb": "WandBTracker"}
# The project of W&B and the experiment of MLflow, unless the environment names another.
PROJECT = "fsr"
TRACKED = "tracker.json"


def check_tracker(name: str | None) -> None:
    """Raise unless the tracker is known and its package is there, before anything is loaded.

    Args:
        name: ``run.tracker``.

    Raises:
        ConfigError: with one line that names what to install.

    Example:
        >>> check_tracker("mlfow")
        Traceback (most recent call last):
        fsr.errors.ConfigError: run.tracker: expected null, mlflow or wandb, got 'mlfow'
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise ConfigError(f"run.tracker: expected null, {' or '.join(TRACKERS)}, got {name!r}")
    if find_spec(name) is None:
        raise ConfigError(f"run.tracker: {name} is not installed: pip install {name}")


class Tracker:
    """Hands numbers to a tracker; one that fails is left alone, and the run goes on.

    A run that is resumed goes on in the tracker's run that it began, whose name is kept in
    ``tracker.json``.

    Args:
        folder: folder of the run.
        config: options of the run.
        values: options to show, by name.
    """

    def __init__(self, folder: Path, config: Config, values: Mapping[str, Any]) -> None:
        self._name = config.run.tracker or ""
        self._tracker: Any = None
        self.fault: str | None = None
        with self._going_on():
            tracking = import_extra("accelerate.tracking", "train", "fsr.train")
            before = _begun(folder, self._name)
            kind = getattr(tracking, TRACKERS[self._name])
            tracker = kind(PROJECT, **_options(self._name, folder, before))
            # Since some release of Accelerate a tracker begins nothing before it is told to.
            getattr(tracker, "start", lambda: None)()
            if before is None:
                tracker.store_init_configuration(dict(values))
                _remember(folder, self._name, tracker)
            self._tracker = tracker

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Hand over the numbers of a step."""
        if self._tracker is not None:
            with self._going_on():
                self._tracker.log(dict(values), step=step)

    def close(self) -> None:
        """End the tracker's run."""
        if self._tracker is not None:
            with self._going_on():
                self._tracker.finish()
            self._tracker = None

    def _going_on(self) -> Any:
        return _Guard(self)

    def failed(self, error: Exception) -> None:
        """Leave the tracker, and keep a line on why."""
        why = " ".join(str(error).split()) or type(error).__name__
        self._tracker = None
        self.fault = f"WARNING: run.tracker: {self._name} failed ({why}); going on without it"


class _Guard:
    """Keeps what a tracker raises, such as a server that is gone, from ending hours of training."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, ConfigError):
            return False
        self._tracker.failed(error)
        return True


def _options(name: str, folder: Path, before: str | None) -> dict[str, Any]:
    """Return how a tracker's run is begun, or gone on with."""
    if name == "mlflow":
        return {"run_name": folder.name, "run_id": before}
    return {"name": folder.name, "dir": str(folder), "id": before, "resume": "allow"}


def _begun(folder: Path, name: str) -> str | None:
    """Return the tracker's own name of the run, where it was begun before."""
    with suppress(ValueError, OSError):
        found = read_json(folder / TRACKED)
        if isinstance(found, dict) and isinstance(found.get(name), str):
            return str(found[name])
    return None


def _remember(folder: Path, name: str, tracker: Any) -> None:
    """Keep the tracker's own name of the run."""
    own = tracker.tracker
    number = own.info.run_id if name == "mlflow" else own.id
    path = folder / TRACKED
    with writing(path), whole_file(path) as draft:
        draft.write_text(to_json({name: number}) + "\n", encoding="utf-8")


def flat(options: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested options by dotted name; lists and the like are spelled.

    Example:
        >>> flat({"optim": {"lr": 0.5, "betas": [1, 2]}})
        {'optim.lr': 0.5, 'optim.betas': '[1, 2]'}
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{key}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            found[f"{path}{key}"] = value if plain else str(value)
    return found
