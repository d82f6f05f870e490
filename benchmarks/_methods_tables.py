"""The table of all methods side by side, from the lines of ``methods.py``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _paired import compare

Runs = list[dict[str, Any]]
BASELINE = "baseline"
SCORES = {
    "cam": "CAM, best threshold",
    "pseudo": "pseudo label",
    "prediction": "prediction",
    "label_f1": "label F1",
}


def finished(path: Path) -> Runs:
    """Return the finished runs of a file; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def table_rows(runs: Runs, names: Iterable[str]) -> list[list[str]]:
    """Return the finished runs as rows of a table, its heading first: means, in per cent.

    The gain is the prediction's difference to the baseline of the same seed, with its 95% t
    interval.

    Args:
        runs: their lines.
        names: the methods in the order of the rows.
    """
    rows = []
    base = by_seed(runs, BASELINE, "prediction")
    for name in names:
        own = {score: by_seed(runs, name, score) for score in SCORES}
        if not own["cam"]:
            continue
        gain = ""
        if name != BASELINE and len(base.keys() & own["prediction"].keys()) > 1:
            told = compare(own["prediction"], base)
            low, high = told.student
            gain = f"{told.difference:+.1f} ({low:+.1f} to {high:+.1f})"
        cells = [_mean(list(own[score].values())) for score in SCORES]
        rows.append([name, *cells, gain, str(len(own["cam"]))])
    return [["method", *SCORES.values(), "prediction beside the baseline", "seeds"], *rows]


def table(runs: Runs, names: Iterable[str]) -> str:
    """Return the finished runs as a table in Markdown."""
    heading, *rows = table_rows(runs, names)
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_seed(runs: Runs, name: str, score: str) -> dict[int, float]:
    """Return a score of a method in per cent by seed, without seeds that have none."""
    own = {run["seed"]: run["scores"][score] for run in runs if run["method"] == name}
    return {seed: 100 * value for seed, value in own.items() if value is not None}


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}" if values else "-"
