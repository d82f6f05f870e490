"""Several runs side by side: the options that differ, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsr.report._facts import SCORES, flat, seconds, status
from fsr.report._numbers import duration, known, percent, value_of
from fsr.report._run import Run


def differing_options(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the options in which runs differ: name, and the value of each run.

    Where a run writes to is left out; it always differs.

    Args:
        runs: the runs.
    """
    tables = [_options(run) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table if name != "run.output")
    rows = [{"name": name, "values": [table.get(name, "-") for table in tables]} for name in names]
    return [row for row in rows if len(set(row["values"])) > 1]


def compared_scores(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the last scores of every run and network, the best of each column marked."""
    rows: list[dict[str, Any]] = [
        {
            "run": run.name,
            "network": network,
            "step": max(run.evaluations),
            "scores": [scores.get(key) for key in SCORES],
        }
        for run in runs
        for network, scores in run.last.items()
    ]
    best = [
        max((row["scores"][place] for row in rows if known(row["scores"][place])), default=None)
        for place in range(len(SCORES))
    ]
    for row in rows:
        row["cells"] = [
            {"text": percent(value), "best": known(value) and value == top}
            for value, top in zip(row["scores"], best, strict=True)
        ]
    return {"columns": list(SCORES.values()), "rows": rows}


def run_cards(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what each run is: name, folder, how it ended, time."""
    return [
        {
            "name": run.name,
            "folder": str(run.folder),
            "colour": place % 8,
            "status": status(run),
            "time": duration(seconds(run)),
        }
        for place, run in enumerate(runs)
    ]


def _options(run: Run) -> dict[str, str]:
    """Return the options of a run by name."""
    table = run.about.get("options")
    if table is not None:
        return {str(row["name"]): value_of(row["value"]) for row in table}
    return {name: value_of(v) for name, v in flat(run.results.get("config", {})).items()}
