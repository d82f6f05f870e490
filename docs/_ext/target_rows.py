"""Tables of what the teacher's targets say; without Sphinx and without a folder of their own."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Rows = list[list[str]]


def information_table(runs: Sequence[dict[str, Any]], variants: Sequence[Any]) -> Rows:
    """Return what the targets said early and late in the runs of variants, means over seeds."""
    rows = []
    for variant in variants:
        mine = [run["losses"] for run in runs if run["variant"] == variant.name and run["scores"]]
        for kind in ("patches", "aggregate"):
            told = [losses for losses in mine if f"{kind}_nats" in losses]
            if not told:
                continue
            cells = []
            for what in ("nats", "information", "used"):
                for part in (1, -1):
                    value = statistics.fmean(losses[f"{kind}_{what}"][part] for losses in told)
                    cells.append(f"{value:.0%}" if what == "used" else f"{value:.2f}")
            rows.append([f"`{variant.name}`", kind, *cells])
    heading = ["variant", "targets of"]
    for what in ("nats to uniform", "tells apart, nats", "prototypes used"):
        heading += [f"{what}: second tenth", "last tenth"]
    return [heading, *rows]


def temperatures_table(path: Path) -> Rows:
    """Return what the targets said in runs of other temperatures, first, half-way and last."""
    rows = []
    for name, run in (json.loads(path.read_text()) if path.exists() else {}).items():
        records = run["records"]
        for record in (records[0], records[len(records) // 2], records[-1]):
            cells = [f"{record[key]:.2f}" for key in ("uncertain", "confident")]
            for kind in ("patch", "aggregate"):
                single, mean = (record[f"{kind}_{k}"] for k in ("entropy", "mean_entropy"))
                cells += [f"{single:.2f}", f"{mean - single:.2f}"]
            rows.append([name, str(record["step"] + 1), *cells])
    heading = ["run", "step", "L_u", "L_c", "entropy of a patch's target", "what it tells apart"]
    return [[*heading, "entropy of the aggregate's target", "what it tells apart"], *rows]


def initial_table(path: Path) -> Rows:
    """Return what the targets of untrained heads tell apart."""
    records = json.loads(path.read_text()) if path.exists() else []
    rows = [
        [
            str(record["prototypes"]),
            f"{record['temperature']:g}",
            record["of"],
            f"{math.log(record['prototypes']):.2f}",
            f"{record['entropy']:.2f}",
            f"{record['mean_entropy'] - record['entropy']:.2f}",
        ]
        for record in records
    ]
    return [["prototypes", "temperature", "of", "uniform", "entropy", "what it tells apart"], *rows]
