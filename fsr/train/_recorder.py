"""What a run shows on the way: log.jsonl, a progress bar or lines, TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from fsr.train._log import JsonLog
from fsr.train._options import Config
from fsr.train._pace import Pace
from fsr.train._table import SCORES, known
from fsr.train._teaching import MEASURED, Teaching
from fsr.train._waiting import Waiting

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
    """Writes the log, TensorBoard and the terminal; on processes but the main one, nothing.

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
        self._pace = Pace(config)
        self._teaching = Teaching(config)
        self._tell = tell if main else None
        self._every = config.run.log_every
        self._total, self._start = config.steps, start
        self._writer: Any = None
        self._bar: Any = None
        if not main:
            return
        self._log = JsonLog(folder / "log.jsonl", step=start)
        for record in self._log.kept("evaluation"):
            del record["kind"]
            self.evaluations[record.pop("step")] = record
        if config.run.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def __enter__(self) -> Recorder:
        if self._tell is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, initial=self._start, unit="step", dynamic_ncols=True
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._writer is not None:
            self._writer.close()
        if self.main:
            self._log.close()

    def say(self, text: str) -> None:
        """Show a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text)
        elif self._tell is not None:
            self._tell(text)

    def step(self, step: int, values: dict[str, Any]) -> None:
        """Record a completed step."""
        if not self.main:
            return
        self._log.write("train", step, **values)
        self._pace.stepped(values["seconds"])
        self._waiting.add(step, values["waited"], values["seconds"])
        if (warning := self._teaching.add(step, values)) is not None:
            self.say(warning)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(loss=f"{values['total']:.3f}", refresh=False)
        if step % self._every and step != self._total:
            return
        if self._bar is None:
            names = ("total", *values["weights"])
            terms = "  ".join(f"{SHORT.get(name, name)} {values[name]:.3f}" for name in names)
            self.say(f"step {step}/{self._total}  {terms}  {self._speed(step)}")
        share, line = self._waiting.tell()
        if line is not None:
            self.say(line)
        if self._writer is not None:
            self._draw(step, values, share)

    def evaluating(self, done: int, images: int) -> None:
        """Show how far an evaluation is, where there is a bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"evaluating {done}/{images}" if done < images else "")

    def evaluation(self, step: int, scores: dict[str, dict[str, Any]], seconds: float) -> None:
        """Record an evaluation and the seconds that it took."""
        self.evaluations[step] = scores
        if not self.main:
            return
        self._log.write("evaluation", step, **scores)
        self._pace.evaluated(seconds, networks=len(scores))
        for network, values in scores.items():
            given = [name for name in SCORES if known(values[name])]
            listed = "  ".join(f"{name} {100 * values[name]:.1f}" for name in given)
            self.say(f"step {step}  {network:7}  {listed}")
            if self._writer is not None:
                for name in given:
                    self._writer.add_scalar(f"{network}/{name}", values[name], step)

    def _speed(self, step: int) -> str:
        each = self._pace.seconds_each()
        rate = f"{1 / each:.2f} steps/s" if each < 1 else f"{each:.1f} s a step"
        return f"{rate}  {timedelta(seconds=round(self._pace.seconds_left(step)))} left"

    def _draw(self, step: int, values: dict[str, Any], share: float | None) -> None:
        """Write a step's values for TensorBoard."""
        for name in ("total", *values["weights"]):
            self._writer.add_scalar(f"loss/{name}", values[name], step)
        for name in ("learning_rate", "momentum", "teacher_temperature", "masked"):
            if values[name] is not None:
                self._writer.add_scalar(f"schedule/{name}", values[name], step)
        for name, weight in values["weights"].items():
            self._writer.add_scalar(f"weight/{name}", weight, step)
        for name in MEASURED:
            if name in values:
                self._writer.add_scalar(f"targets/{name}", values[name], step)
        self._writer.add_scalar("gradient_norm", values["gradient_norm"], step)
        if share is not None:
            self._writer.add_scalar("waited_for_data", share, step)
