"""What the figures of the page "Evidence" share: colours, names, and one way to draw a gain."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from _ablation_scores import Row, cam_sweep_by_seed, scores_by_seed
from _ablation_variants import BASELINE, FULL
from _paired import compare
from matplotlib import pyplot as plt

INFORMATIVE = f"{FULL}-std"
BEST_CAM = "cam at its best threshold"
COLOURS = {BASELINE: "#777777", FULL: "#c97b1a", INFORMATIVE: "#1663a8"}
CALLED = {
    BASELINE: "baseline",
    FULL: "FSR, the paper's targets",
    INFORMATIVE: "FSR, standardised targets",
}
DPI = 130


def by_seed(runs: Sequence[Row], variant: str, score: str) -> dict[int, float]:
    """Return one score of the student in per cent by seed.

    Args:
        runs: finished runs.
        variant: its name.
        score: name of a score, or `BEST_CAM`: the threshold is then the best in the mean over the
            seeds of `runs`.
    """
    if score == BEST_CAM:
        sweep = cam_sweep_by_seed(runs, variant)
        found = max(sweep.values(), key=lambda side: statistics.fmean(side.values()), default={})
    else:
        found = scores_by_seed(runs, variant, "student", score)
    return {seed: 100 * value for seed, value in found.items()}


def gain(
    axis: Any, place: float, mine: dict[int, float], base: dict[int, float], colour: str
) -> None:
    """Draw differences by seed as dots, their mean as a diamond on its 95% t interval."""
    each = [mine[seed] - base[seed] for seed in sorted(mine.keys() & base.keys())]
    if not each:
        return
    told = compare(mine, base)
    spread = [place + 0.03 * (i - len(each) / 2) for i in range(len(each))]
    axis.scatter(spread, each, s=18, color=colour, alpha=0.6, linewidths=0)
    axis.plot([place] * 2, list(told.student), color=colour, linewidth=2)
    axis.plot(place, told.difference, "D", color=colour, markersize=7)
    label(axis, told.difference, place)


def label(axis: Any, value: float, place: float) -> None:
    """Write a difference beside its mark, readable on a line that crosses it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axis.annotate(f"{value:+.1f}", (place + 0.2, value), va="center", bbox=ground)


def plain(axis: Any, title: str = "") -> None:
    """Give an axis its title and take its frame away."""
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: Path) -> None:
    """Write a figure and let it go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
