"""Tables of the ablation, from the lines that ``benchmarks/ablation.py`` wrote; without Sphinx."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results" / "ablation"
if str(BENCHMARKS) not in sys.path:
    sys.path.append(str(BENCHMARKS))

from _ablation_finished import finished  # noqa: E402
from _ablation_scores import SCORES, scores_by_seed  # noqa: E402
from _ablation_tables import (  # noqa: E402
    agreement_table,
    comparison,
    interval,
    score_table,
    signed,
)
from _ablation_thresholds import best_threshold_table, threshold_table  # noqa: E402
from _ablation_variants import BASELINE, FULL, HARDER, VARIANTS, Variant  # noqa: E402
from leaderboard_rows import leaderboard_table  # noqa: E402
from target_rows import information_table, initial_table, temperatures_table  # noqa: E402

Rows = list[list[str]]
NETWORKS = ("student", "teacher")


def runs(name: str) -> list[dict[str, Any]]:
    """Return the runs of a file that count; of several by names with ``+`` between them."""
    return [run for one in name.split("+") for run in finished(RESULTS / f"{one}.jsonl")]


def chosen(which: str, against: str = BASELINE) -> list[Variant]:
    """Return variants by tier and name, such as "1", "2,3" or "random-0.2,random-0.4".

    They come in the order of all variants, and what they are compared with is among them.
    """
    _check(against, tuple(VARIANTS))
    wanted = {against, *which.split(",")}
    tiers = {str(variant.tier) for variant in VARIANTS.values()}
    for name in wanted:
        _check(name, (*sorted(tiers), *VARIANTS))
    return [v for v in VARIANTS.values() if not wanted.isdisjoint((v.name, str(v.tier)))]


def scores(
    which: str, network: str, score: str, against: str = BASELINE, name: str = "final"
) -> Rows:
    """Return one score of some variants, with differences to one of all variants.

    The runs are those of a file by name.

    Of the latter only those seeds count that another of the variants was run with, so that its mean
    and theirs lie apart by the difference where all have the same seeds; alone it is no table.
    """
    _check(network, NETWORKS)
    _check(score, tuple(SCORES))
    listed, done = chosen(which, against), runs(name)
    others = {variant.name for variant in listed} - {against}
    seeds = {run["seed"] for run in done if run["variant"] in others}
    kept = [run for run in done if run["variant"] != against or run["seed"] in seeds]
    return _narrowed(score_table(kept, listed, network, score, against))


def _narrowed(table: Rows) -> Rows:
    """Return a table of scores without what a page has no room for.

    Mean and deviation become one column; the paper's table is named by the text; empty columns go,
    and so do the pairs where they are the seeds.
    """
    heading, *body = table
    rows = [dict(zip(heading, cells, strict=True)) for cells in body]
    for row in rows:
        row["variant"] = f"`{row['variant']}`"
        row["mean"] += f" ± {row['sd']}" if row["sd"] else ""
        row["paper"] = row["paper"].partition(" (Table")[0]
    kept = [name for name in heading if name != "sd" and any(row[name] for row in rows)]
    if all(row["pairs"] in ("", row["seeds"]) for row in rows) and "pairs" in kept:
        kept.remove("pairs")
    named = ["mean ± sd" if name == "mean" else name for name in kept]
    return [named, *([row[name] for name in kept] for row in rows)]


def agreement(which: str, against: str = BASELINE) -> Rows:
    """Return the differences of what was run twice: on its own seeds, on the confirmation's."""
    listed = chosen(which, against)
    heading, *body = agreement_table(runs("final"), runs("confirmation"), listed, against)
    return [heading, *([_short(score), f"`{name}`", *cells] for score, name, *cells in body)]


def _short(score: str) -> str:
    """Spell a score without what all of them share."""
    return score.removeprefix("student, ").removesuffix(" mIoU")


def thresholds(which: str, against: str = BASELINE, name: str = "final") -> Rows:
    """Return CAM mIoU at every threshold, differences to one variant with their t intervals."""
    listed = chosen(which, against)
    (first, *names), *body = threshold_table(runs(name), listed, against)
    return [[first, *(f"`{name}`" for name in names)], *body]


def best_thresholds(which: str, against: str = BASELINE, name: str = "final") -> Rows:
    """Return differences of CAM mIoU, each variant at its own best threshold.

    Those of the runs by name, and again on the confirmation's seeds where they have any.
    """
    listed = chosen(which, against)
    sides = runs(name), runs("confirmation") if name == "final" else []
    heading, *body = best_threshold_table(*sides, listed, against)
    return [heading, *([f"`{name}`", *cells] for name, *cells in body)]


def variants(which: str, name: str = "final") -> Rows:
    """Return what some variants are, by which options, and their runs of a file by name."""
    done = runs(name)
    rows = []
    for variant in chosen(which):
        seeds = sum(run["variant"] == variant.name for run in done)
        options = " ".join(f"`{option}`" for option in variant.overrides) or "none"
        rows.append([f"`{variant.name}`", variant.about, options, str(seeds)])
    return [["variant", "what it is", "options over `ablation.yaml`", "seeds run"], *rows]


def information(which: str, name: str = "targets") -> Rows:
    """Return what the targets said in the course of the runs of some variants, means over seeds."""
    return information_table(runs(name), chosen(which))


def leaderboard() -> Rows:
    """Return every variant beside the baseline of its own runs, the best prediction first."""
    return leaderboard_table([runs(name) for name in ("final+confirmation", "targets")])


def robustness(score: str, other: str = f"{FULL}-std") -> Rows:
    """Return one score of the baseline and another variant by what they learn from.

    Each condition's two sides were run side by side; the first row's on another day and machine.
    """
    _check(score, tuple(SCORES))
    rows = []
    for name in ("", *HARDER):
        done = runs("robustness" if name else "targets")
        base, mine = (f"{side}-{name}".rstrip("-") for side in (BASELINE, other))
        found = comparison(done, mine, base, "student", score)
        if not found.pairs:
            continue
        floor, reached = (
            100 * statistics.fmean(scores_by_seed(done, side, "student", score).values())
            for side in (base, mine)
        )
        gain = signed(found.difference)
        if found.pairs > 2:
            gain += f" ({interval(found.student)})"
        cells = [f"{floor:.1f}", f"{reached:.1f}", gain, str(found.pairs)]
        rows.append([f"`{HARDER[name]}`" if name else "all 2,000 images, right labels", *cells])
    return [["learns from", "baseline", f"`{other}`", "difference", "pairs"], *rows]


def costs(which: str, revision: str | None = None) -> Rows:
    """Return seconds a step of some variants; those run on other days may have met another load.

    With a revision only runs of that commit count.
    """
    rows, done = [], [run for run in runs("final") if revision in (None, run["revision"])]
    for name in (variant.name for variant in chosen(which)):
        found = (run.get("step_seconds") for run in done if run["variant"] == name)
        mine = [seconds for seconds in found if seconds is not None]
        if mine:
            rows.append([f"`{name}`", f"{statistics.median(mine):.2f}"])
    return [["variant", "seconds a step, one thread"], *rows]


def targets() -> Rows:
    """Return what the teacher's targets said in runs of other temperatures, half-way and last."""
    return temperatures_table(RESULTS / "targets.json")


def initial_targets() -> Rows:
    """Return what the targets of untrained heads tell apart."""
    return initial_table(RESULTS / "targets_initial.json")


def _check(got: str, expected: tuple[str, ...]) -> None:
    if got not in expected:
        raise ValueError(f"expected one of {expected}, got {got}")


TABLES: dict[str, Callable[..., Rows]] = {
    "information": information,
    "leaderboard": leaderboard,
    "scores": scores,
    "agreement": agreement,
    "thresholds": thresholds,
    "best_thresholds": best_thresholds,
    "variants": variants,
    "costs": costs,
    "robustness": robustness,
    "targets": targets,
    "initial_targets": initial_targets,
}
