"""What a run shows on the way: log.jsonl, scores.json, a bar or lines, trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from fsr._core.records import to_json, write_atomically
from fsr.errors import ResourceError
from fsr.report import write_report
from fsr.train._log import ENDED, JsonLog
from fsr.train._options import Config
from fsr.train._pace import Pace
from fsr.train._screen import Screen
from fsr.train._table import SCORES, known
from fsr.train._teaching import MEASURED, Teaching
from fsr.train._trackers import Tracker, flat
from fsr.train._waiting import Waiting
from fsr.train._writing import writing

# What is too long for a line of the log, of the last evaluation.
SCORES_FILE = "scores.json"
SHORT = {
    "total": "loss",
    "classification": "cls",
    "auxiliary": "aux",
    "affinity": "aff",
    "segmentation": "seg",
    "uncertain": "unc",
    "confident": "conf",
    "energy": "energy",
}


class Recorder:
    """Writes the log, trackers and the terminal; on processes but the main one, nothing.

    Args:
        folder: folder of the run.
        config: options of the run.
        waiting: sums up what steps waited for data.
        start: completed steps from which the run goes on.
        main: whether this is the main process.
        tell: takes a line for the terminal; None shows nothing, no bar either.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        waiting: Waiting,
        *,
        start: int,
        main: bool,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.main = main
        self.evaluations: dict[int, dict[str, Any]] = {}
        self._waiting = waiting
        self._share: float | None = None
        self._pace = Pace(config)
        self._teaching = Teaching(config)
        self._screen = Screen(tell if main else None)
        self._folder = folder
        self._every = config.run.log_every
        self._total, self._start = config.steps, start
        self._writer: Any = None
        self._tracker: Tracker | None = None
        if not main:
            return
        with writing(folder / "log.jsonl"):
            self._log = JsonLog(folder / "log.jsonl", step=start)
        for record in self._log.kept("evaluation"):
            del record["kind"]
            self.evaluations[record.pop("step")] = record
        if config.run.tracker is not None:
            self._tracker = Tracker(folder, config, flat(asdict(config)))
            self._tell_of_tracker()
        if config.run.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def __enter__(self) -> Recorder:
        self._screen.open(self._total, self._start)
        return self

    def __exit__(self, *error: object) -> None:
        self._screen.close()
        if self._writer is not None:
            with suppress(OSError):  # a full disk was told of when something was drawn
                self._writer.close()
        if self._tracker is not None:
            self._tracker.close()
        if self.main:
            self._log.close()

    def say(self, text: str) -> None:
        """Show a line without breaking the bar."""
        self._screen.say(text)

    def step(self, step: int, values: dict[str, Any]) -> None:
        """Record a completed step."""
        if not self.main:
            return
        self._write("train", step, values)
        self._pace.stepped(values["seconds"])
        self._waiting.add(step, values["waited"], values["seconds"])
        if (warning := self._teaching.add(step, values)) is not None:
            self.say(warning)
        self._screen.advance(values["total"], self._share)
        if step % self._every and step != self._total:
            return
        share, line = self._waiting.tell()
        self._share = share
        if not self._screen.has_bar:
            names = ("total", *values["weights"])
            terms = "  ".join(f"{SHORT.get(name, name)} {values[name]:.3f}" for name in names)
            self.say(f"step {step}/{self._total}  {terms}  {self._speed(step)}")
        if line is not None:
            self.say(line)
        self._draw(drawn(values, share), step)

    def evaluating(self, done: int, images: int) -> None:
        """Show how far an evaluation is, where there is a bar."""
        self._screen.evaluating(done, images)

    def evaluation(
        self,
        step: int,
        scores: dict[str, dict[str, Any]],
        seconds: float,
        details: dict[str, Any],
    ) -> None:
        """Record an evaluation, the seconds that it took, and what only the last one leaves."""
        self.evaluations[step] = scores
        if not self.main:
            return
        # Before the line of the log: an evaluation that stands there is not made again.
        with writing(self._folder / SCORES_FILE):
            write_atomically(self._folder / SCORES_FILE, to_json(details) + "\n")
        self._write("evaluation", step, scores)
        self._pace.evaluated(seconds, networks=len(scores))
        for network, values in scores.items():
            given = [name for name in SCORES if known(values[name])]
            listed = "  ".join(f"{name} {100 * values[name]:.1f}" for name in given)
            self.say(f"step {step}  {network:7}  {listed}")
            self._draw({f"{network}/{name}": values[name] for name in given}, step)

    def ended(self, step: int, why: str) -> None:
        """Record why the run ends before its last step, and report what there is.

        What the disk does not take is left out: the run ends for a reason of its own.
        """
        if self.main:
            with suppress(ResourceError, OSError, ValueError):
                self._write(ENDED, step, {"why": why})
                write_report(self._folder)

    def _write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a record to the log."""
        with writing(self._log.path):
            self._log.write(kind, step, **values)

    def _speed(self, step: int) -> str:
        each = self._pace.seconds_each()
        rate = f"{1 / each:.2f} steps/s" if each < 1 else f"{each:.1f} s a step"
        waited = "" if self._share is None else f"  {self._share:.0%} waited for data"
        return f"{rate}{waited}  {timedelta(seconds=round(self._pace.seconds_left(step)))} left"

    def _draw(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers for TensorBoard and the tracker."""
        if self._writer is not None:
            with writing(self._folder / "tensorboard"):
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.log(values, step)
            self._tell_of_tracker()

    def _tell_of_tracker(self) -> None:
        """Say once that the tracker has failed."""
        if self._tracker is not None and self._tracker.fault is not None:
            self.say(self._tracker.fault)
            self._tracker = None


def drawn(values: Mapping[str, Any], share: float | None) -> dict[str, float]:
    """Return what TensorBoard shows of a step, by name.

    Args:
        values: what the log has of it.
        share: of the time that steps waited for data; None where it is not known.
    """
    shown = {f"loss/{name}": values[name] for name in ("total", *values["weights"])}
    schedules = ("learning_rate", "momentum", "teacher_temperature", "masked")
    shown |= {f"schedule/{n}": values[n] for n in schedules if values[n] is not None}
    shown |= {f"weight/{name}": weight for name, weight in values["weights"].items()}
    shown |= {f"targets/{name}": values[name] for name in MEASURED if name in values}
    shown["gradient_norm"] = values["gradient_norm"]
    return shown if share is None else shown | {"waited_for_data": share}
