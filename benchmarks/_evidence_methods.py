"""The figure of all methods side by side: maps and predictions of each, seed by seed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from _evidence_drawing import plain, save
from _methods_tables import BASELINE, SCORES, Runs, by_seed
from matplotlib import pyplot as plt

PANELS = {"cam": "#c97b1a", "pseudo": "#5b8c3a", "prediction": "#1663a8"}
MARKED = "#777777"


def side_by_side(runs: Runs, names: list[str], path: Path) -> None:
    """Draw a row for each method, its seeds as dots and their mean as a diamond.

    Args:
        runs: lines of ``methods.py``; without one nothing is drawn.
        names: the methods from top to bottom.
        path: where the picture goes.
    """
    shown = [name for name in names if by_seed(runs, name, "cam")]
    if not shown:
        return
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, 0.5 + 0.3 * len(shown)), sharey=True)
    for axis, (score, colour) in zip(axes, PANELS.items(), strict=True):
        base = by_seed(runs, BASELINE, score)
        if base:
            axis.axvline(statistics.fmean(base.values()), color=MARKED, linewidth=1, linestyle=":")
        for place, name in enumerate(shown):
            _row(axis, place, by_seed(runs, name, score), colour)
        plain(axis, f"{SCORES[score]}, mIoU (%)")
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(shown)), shown)
    axes[0].invert_yaxis()
    save(figure, path)


def _row(axis: Any, place: int, values: dict[int, float], colour: str) -> None:
    if values:
        axis.scatter(values.values(), [place] * len(values), s=14, color=colour, alpha=0.5)
        axis.plot(statistics.fmean(values.values()), place, "D", color=colour, markersize=6)
