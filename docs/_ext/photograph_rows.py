"""Tables of the runs on photographs, from the lines of ``benchmarks/photographs.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ablation_rows
from _ablation_finished import finished
from _ablation_scores import Row
from _ablation_tables import comparison, interval, signed
from _ablation_variants import BASELINE, VARIANTS
from _photograph_tables import SCORES, score_table

Rows = list[list[str]]
RESULTS = ablation_rows.BENCHMARKS / "results" / "photographs"
# What stands on the page for a reader; the other scores are on that of the tables.
MAIN = ("prediction", "before_crf", "after_crf", "trimap", "cam_best", "cam")


def runs(folder: Path | None = None) -> list[Row]:
    """Return the runs that count."""
    return finished((RESULTS if folder is None else folder) / "final.jsonl")


def score(name: str) -> Rows:
    """Return one score of every variant that was run, with differences to the baseline."""
    if name not in SCORES:
        raise ValueError(f"expected one of {tuple(SCORES)}, got {name}")
    heading, *body = score_table(runs(), list(VARIANTS.values()), name, BASELINE)
    return [heading, *([f"`{variant}`", *cells] for variant, *cells in body)]


def summary() -> Rows:
    """Return the main scores of each variant beside the baseline, a row for each."""
    done, rows = runs(), []
    for variant in VARIANTS.values():
        for name in MAIN:
            mine = comparison(done, variant.name, BASELINE, "student", name)
            if variant.name == BASELINE or not mine.pairs:
                continue
            base = comparison(done, BASELINE, BASELINE, "student", name)
            spelled = interval(mine.student)
            gain = signed(mine.difference) + (f" ({spelled})" if spelled else "")
            cells = [f"`{variant.name}`", SCORES[name], f"{base.mean:.1f}", f"{mine.mean:.1f}"]
            rows.append([*cells, gain, str(mine.pairs), mine.effect])
    heading = ["variant", "score (%)", "baseline", "with it", "difference (95% t)", "pairs"]
    return [[*heading, "effect"], *rows]


TABLES: dict[str, Callable[..., Rows]] = {"score": score, "summary": summary}
