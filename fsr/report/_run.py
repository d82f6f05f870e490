"""The folder of a run as its report reads it: log, results, and what the run told of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fsr._core.records import read_log
from fsr._core.regular import check_regular
from fsr._core.text import read_json
from fsr.errors import DataError, InputError

LOG, RESULTS, ABOUT = "log.jsonl", "results.json", "about.json"
SCORES, PICTURES = "scores.json", "pictures.json"
NETWORK = "student.safetensors"

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run has left.

    Attributes:
        folder: its folder.
        train: what the log has of each step.
        evaluations: scores by step, network and name.
        ended: why it ended before its last step; None if it did not, or was killed.
        results: ``results.json``, empty while there is none.
        about: ``about.json``, empty for a run of an earlier release.
        scores: ``scores.json``, of the evaluation that it belongs to.
        pictures: ``pictures.json``.
    """

    folder: Path
    train: list[Record] = field(default_factory=list)
    evaluations: dict[int, Record] = field(default_factory=dict)
    ended: str | None = None
    results: Record = field(default_factory=dict)
    about: Record = field(default_factory=dict)
    scores: Record = field(default_factory=dict)
    pictures: Record = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the run is called: the name of its folder."""
        return self.folder.resolve().name

    @property
    def steps(self) -> int | None:
        """Length of the run; None where nothing tells."""
        found = self.about.get("steps", self.results.get("steps"))
        return None if found is None else int(found)

    @property
    def done(self) -> int:
        """The last step that the log or an evaluation knows."""
        return max([0, *(int(record["step"]) for record in self.train), *self.evaluations])

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.results) and self.ended is None

    @property
    def last(self) -> Record:
        """Scores of the last evaluation by network; empty where there was none."""
        return self.evaluations[max(self.evaluations)] if self.evaluations else {}

    @property
    def class_names(self) -> list[str]:
        """Names of the labels, background first; numbers where the run told no names."""
        names = self.about.get("class_names") or saved_class_names(self.folder / NETWORK)
        if not names:
            counts = [len(values.get("cam_iou") or ()) for values in self.last.values()]
            names = [f"class {number}" for number in range(1, max(counts, default=0))]
        return ["background", *map(str, names)]


def read_run(folder: str | Path) -> Run:
    """Read the folder of a run, finished or not.

    Args:
        folder: what ``run.output`` named.

    Raises:
        DataError: one of its files is damaged.
        InputError: no run lies there, or not one step of it was completed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; expected that of a run, as fsr train writes it")
    if not any((folder / name).exists() for name in (LOG, RESULTS, ABOUT)):
        raise InputError(
            f"{folder}: holds no run: expected {LOG} or {RESULTS}, as fsr train writes them"
        )
    records = _records(folder / LOG)
    results = _mapping(folder / RESULTS)
    evaluations = {int(step): found for step, found in results.get("evaluations", {}).items()}
    for record in records:
        if record["kind"] == "evaluation":
            rest = {key: value for key, value in record.items() if key not in ("kind", "step")}
            evaluations[int(record["step"])] = rest
    train = [record for record in records if record["kind"] == "train"]
    if not train and not evaluations:
        raise InputError(f"{folder}: no step of this run was completed: nothing to report yet")
    ended = [str(record["why"]) for record in records if record["kind"] == "ended"]
    scores = _mapping(folder / SCORES)
    return Run(
        folder,
        train,
        dict(sorted(evaluations.items())),
        ended[-1] if ended else None,
        results,
        _mapping(folder / ABOUT),
        scores if scores.get("step") in evaluations else {},
        _mapping(folder / PICTURES),
    )


def saved_class_names(path: Path) -> list[str]:
    """Return the class names that a network file tells, none where it tells none.

    Args:
        path: the file; nothing of it but its header is read, and torch is not needed.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("fsr_wsss", "{}"))
        return [str(name) for name in header.get("class_names") or ()]
    except (OSError, SafetensorError, ValueError, AttributeError, TypeError):
        return []


def _records(path: Path) -> list[Record]:
    """Return the whole records of a log."""
    check_regular(path)
    try:
        found = list(read_log(path))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    whole = []
    for record in found:
        if not isinstance(record, dict) or not {"kind", "step"} <= record.keys():
            raise DataError(f"{path}: expected a record of a step in each line, got {record!r:.60}")
        whole.append(record)
    return whole


def _mapping(path: Path) -> Record:
    """Return what a file of JSON holds; nothing where there is no such file."""
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise DataError(f"{path}: expected entries by name, got {type(found).__name__}")
    return dict(found)
