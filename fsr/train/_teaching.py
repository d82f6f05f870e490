"""How much the teacher's targets say in the course of a run, and a word where it is little."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from fsr.losses import TargetInformation
from fsr.train._options import Config
from fsr.train._preset_options import build_method

# Whose targets are measured, by the term that they teach.
ROWS = {"uncertain": "patches", "confident": "aggregate"}
CALLED = {"patches": "patch", "aggregate": "aggregated"}
#: Names in the log of what is measured at every step.
MEASURED = tuple(f"{rows}_{what}" for rows in ROWS.values() for what in TargetInformation._fields)
# Targets nearer to uniform than this teach little; half of what so many prototypes can say at most,
# where that is less.
ENOUGH_NATS = 1.0


class Teaching:
    """Says once in a run that the targets have stayed near uniform, and which option helps.

    Targets are judged by the mean over a window, once the teacher's temperature has risen and a
    tenth of the run is over: those of the patches, or of the aggregated token where L_u has no
    weight.

    Args:
        config: options of the run.

    Example:
        >>> from fsr.train import load_config
        >>> watch = Teaching(load_config(overrides=["steps=100", "preset.target=centred"]))
        >>> values = {"weights": {"uncertain": 0.1}, "patches_nats": 0.4}
        >>> told = [watch.add(step, values) for step in range(1, 101)]
        >>> [text.partition(":")[0] for text in told if text]
        ["the teacher's patch targets are 0.40 nats from uniform (steps 13 to 32)"]
    """

    def __init__(self, config: Config) -> None:
        preset, steps = build_method(config), config.steps
        # Of a method without such targets nothing of the name is logged.
        self.form = getattr(preset, "target", "centred")
        self.enough = min(ENOUGH_NATS, math.log(config.model.projection_dim) / 2)
        self._from = round(max(0.1, getattr(preset, "teacher_temperature_warmup", 0.0)) * steps)
        self._window: deque[float] = deque(maxlen=max(20, round(0.05 * steps)))
        self._rows: str | None = None
        self._told = False

    def add(self, step: int, values: Mapping[str, Any]) -> str | None:
        """Take what a completed step logged; return what to tell, once."""
        rows = taught(values)
        if rows is None or step <= self._from or self._told:
            return None
        if rows != self._rows:  # another term has begun, or the first has ended
            self._window.clear()
            self._rows = rows
        self._window.append(values[f"{rows}_nats"])
        size = len(self._window)
        mean = statistics.fmean(self._window)
        if size < (self._window.maxlen or 0) or not mean < self.enough:
            return None
        self._told = True
        # Of a few rows no balanced target can say much, whatever the temperature.
        helps = "preset.target=standardised"
        if self.form == "standardised":
            helps = "a lower preset.target_temperature"
        return (
            f"the teacher's {CALLED[rows]} targets are {mean:.2f} nats from uniform "
            f"(steps {step - size + 1} to {step}): there is little to learn from them; "
            f"{helps} makes them say more"
        )


def taught(values: Mapping[str, Any]) -> str | None:
    """Return whose targets a step is judged by: the first with a weight and a measurement."""
    for term, rows in ROWS.items():
        if values["weights"].get(term, 0) > 0 and f"{rows}_nats" in values:
            return rows
    return None


def target_summary(records: Iterable[Mapping[str, Any]], steps: int) -> dict[str, float]:
    """Return the means over the last tenth of a run of what its targets said, by name.

    Args:
        records: those of the log, of kind "train" or other.
        steps: of the run.

    Example:
        >>> log = [{"kind": "train", "step": s, "patches_nats": s / 10} for s in range(1, 21)]
        >>> target_summary(log, 20)
        {'patches_nats': 1.95}
    """
    last = [r for r in records if r["kind"] == "train" and r["step"] > 0.9 * steps]
    found = {name: [r[name] for r in last if r.get(name) is not None] for name in MEASURED}
    return {name: statistics.fmean(values) for name, values in found.items() if values}


def summary_line(summary: Mapping[str, float], prototypes: int) -> str | None:
    """Spell a summary in one line; None where no targets were made.

    Example:
        >>> summary_line({"patches_nats": 2.5, "patches_information": 2, "patches_used": 0.5}, 256)
        'targets, last tenth: patches 2.5 of 5.5 nats from uniform, 2.0 tell them apart, 50% of prototypes used'
    """  # noqa: E501 - the last line is output of the example
    parts = [
        f"{rows} {summary[f'{rows}_nats']:.1f} of {math.log(prototypes):.1f} nats from uniform, "
        f"{summary[f'{rows}_information']:.1f} tell them apart, "
        f"{summary[f'{rows}_used']:.0%} of prototypes used"
        for rows in ROWS.values()
        if f"{rows}_nats" in summary
    ]
    return f"targets, last tenth: {'; '.join(parts)}" if parts else None
