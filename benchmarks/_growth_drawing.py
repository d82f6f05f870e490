"""The figure of how cost grows: a step along four sweeps, and a table of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _evidence_drawing import plain, save
from _growth import SWEEPS, completed, exponent
from matplotlib import pyplot as plt

TABLE = {"folder": "a folder", "masks": "with masks", "coco": "COCO"}
MARKS = ("o", "s", "^", "D")
COLOURS = ("#1663a8", "#c97b1a", "#3c8d5a", "#777777")


def growth(results: Path, output: Path) -> None:
    """Draw times and memory over what grows, as multiples of the first, both axes logarithmic."""
    scaling, tables = (_read(results / f"{name}.json") for name in ("scaling", "table_growth"))
    if not scaling or not tables:
        return
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
    for number, (sweep, (title, count)) in enumerate(SWEEPS.items()):
        points = completed(scaling, sweep)
        values = [count(point) for point in points]
        for axis, cost in zip(axes, ("median_seconds", "memory_bytes"), strict=False):
            _curve(axis, title, values, [point[cost] for point in points], number)
    for number, (kind, title) in enumerate(TABLE.items()):
        points = tables["kinds"][kind]["points"]
        values = [point["images"] for point in points]
        costs = [point["open_cpu_seconds"] for point in points]
        _line(axes[2], title, values, costs, number)
    for axis, title in zip(axes, ("time of a step", "memory of a step"), strict=False):
        reached = max(axis.get_xlim()[1], 1)
        axis.plot([1, reached], [1, reached], color="#bbbbbb", linewidth=0.8, zorder=0)
        axis.set_xlabel("times what grows")
        axis.set_ylabel("times the cost")
        axis.set_ylim(0.03, 60)  # room for the names
        plain(axis, title)
    axes[2].set_xlabel("images in the table")
    axes[2].set_ylabel("seconds of a processor")
    plain(axes[2], "opening a table of labels")
    for axis in axes:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.legend(frameon=False, fontsize=7, loc="lower right")
    save(figure, output / "growth.png")


def _curve(axis: Any, title: str, values: list[float], costs: list[float], number: int) -> None:
    """Draw one curve as multiples of its first point."""
    times = [value / values[0] for value in values]
    _line(axis, title, times, [cost / costs[0] for cost in costs], number)


def _line(axis: Any, title: str, values: list[float], costs: list[float], number: int) -> None:
    """Draw one curve, named with its exponent."""
    slope = exponent(values, costs)
    named = title if slope is None else f"{title}, {slope:.2f}"
    axis.plot(values, costs, marker=MARKS[number], color=COLOURS[number], markersize=4, label=named)


def _read(path: Path) -> Any:
    """Return a result, or None where it was not measured."""
    return json.loads(path.read_text()) if path.exists() else None
