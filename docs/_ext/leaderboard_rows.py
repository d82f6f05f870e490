"""All switches side by side, each beside the baseline of its own runs; without Sphinx."""

from __future__ import annotations

from collections.abc import Sequence

from _ablation_scores import Row
from _ablation_tables import comparison, interval, signed
from _ablation_thresholds import best_threshold_table
from _ablation_variants import BASELINE, VARIANTS

# Pairs of seeds from which on a row stands among all others.
LISTED_FROM = 4
HEADING = (
    "variant",
    "what it is",
    "pairs",
    "prediction (95% t)",
    "CAM, each at its best (95% t)",
)


def leaderboard_table(files: Sequence[Sequence[Row]]) -> list[list[str]]:
    """Return every variant beside the baseline of its own runs, the best prediction first.

    Args:
        files: runs with the baseline among them, one sequence for each set of runs.
    """
    rows: list[tuple[float, list[str]]] = []
    for done in files:
        for variant in VARIANTS.values():
            if variant.name == BASELINE or variant.masks:
                continue
            found = comparison(done, variant.name, BASELINE, "student", "prediction")
            if found.pairs < LISTED_FROM:
                continue
            gain = f"{signed(found.difference)} ({interval(found.student)})"
            _, *told = best_threshold_table(done, [], [variant])
            cam = f"{told[0][5]} ({told[0][6]})" if told else ""
            cells = [f"`{variant.name}`", variant.about, str(found.pairs)]
            rows.append((-found.difference, [*cells, gain, cam]))
    return [list(HEADING), *(cells for _, cells in sorted(rows, key=lambda row: row[0]))]
