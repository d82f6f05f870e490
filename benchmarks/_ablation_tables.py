"""The tables of an ablation: scores beside the baseline and beside the paper, what is missing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from _ablation_runs import Task
from _ablation_scores import SCORES, Row, scores_by_seed
from _ablation_variants import BASELINE, VARIANTS, Variant
from _paired import Comparison, agree, compare

Cells = list[list[str]]
# What the paper prints, by the score that it is.
PAPERS = {"cam": "pseudo", "prediction": "prediction"}
COLUMNS = (
    "variant",
    "seeds",
    "mean",
    "sd",
    "pairs",
    "difference",
    "95% bootstrap",
    "95% t",
    "effect",
    "paper",
    "paper's difference",
)


def comparison(
    rows: Sequence[Row], name: str, against: str, network: str, score: str
) -> Comparison:
    """Compare one score of two variants, in per cent."""
    sides = (scores_by_seed(rows, variant, network, score) for variant in (name, against))
    mine, other = ({seed: 100 * value for seed, value in side.items()} for side in sides)
    return compare(mine, other)


def score_table(
    rows: Sequence[Row],
    variants: Sequence[Variant],
    network: str,
    score: str,
    against: str = BASELINE,
) -> Cells:
    """Return the table of one score, its header first; variants without a run are left out.

    Args:
        rows: finished runs of one setting.
        variants: what to list, in this order.
        network: "student" or "teacher".
        score: name of the score, see `SCORES`.
        against: the variant that differences are taken to.
    """
    table = [list(COLUMNS)]
    for variant in variants:
        found = comparison(rows, variant.name, against, network, score)
        if not found.seeds:
            continue
        paper = [""] * 2
        if network == "student":  # the paper scores the student
            paper = _paper(variant, VARIANTS.get(against), score)
        gap = [""] * 5
        if variant.name != against:
            gap = [
                str(found.pairs),
                signed(found.difference),
                interval(found.bootstrap),
                interval(found.student),
                found.effect,
            ]
        spread = "" if math.isnan(found.spread) else f"{found.spread:.1f}"
        table.append(
            [variant.name, str(found.seeds), f"{found.mean:.1f}", spread, *gap, *paper],
        )
    return table


def all_tables(
    rows: Sequence[Row],
    variants: Sequence[Variant],
    *,
    against: str = BASELINE,
    networks: Sequence[str] = ("student", "teacher"),
    scores: Sequence[str] = tuple(SCORES),
    render: Callable[[Cells], str],
) -> str:
    """Return the tables of several scores, each under its title."""
    parts = []
    for network in networks:
        for score in scores:
            table = score_table(rows, variants, network, score, against)
            if len(table) > 1:
                title = f"{network}, {SCORES[score]} (%), differences to {against}"
                parts.append(f"### {title}\n\n{render(table)}")
    broken = [
        f"- {r['variant']}, seed {r['seed']}: {r['failure']}" for r in rows if not r["scores"]
    ]
    if broken:
        parts.append("### runs without a score\n\n" + "\n".join(broken))
    return "\n\n".join(parts)


def agreement_table(
    rows: Sequence[Row], again: Sequence[Row], variants: Sequence[Variant], against: str = BASELINE
) -> Cells:
    """Return the differences of two sets of runs, whether they agree, and that of both together.

    Sets that share a seed have no difference together.
    """
    shared = {row["seed"] for row in rows} & {row["seed"] for row in again}
    together = [] if shared else [*rows, *again]
    both = ["both together", "95% t"]
    table = [["score", "variant", "difference", "95% t", "again", "95% t", "agree", *both]]
    for score in PAPERS:
        for variant in variants:
            one, two, every = (
                comparison(part, variant.name, against, "student", score)
                for part in (rows, again, together)
            )
            if variant.name == against or min(one.pairs, two.pairs) < 2:
                continue
            shown = [[signed(c.difference), interval(c.student)] for c in (one, two, every)]
            word = "yes" if agree(one, two) else "NO"
            named = [f"student, {SCORES[score]}", variant.name]
            table.append([*named, *shown[0], *shown[1], word, *shown[2]])
    return table


def state_table(
    variants: Sequence[Variant],
    seeds: Callable[[Variant], Sequence[int]],
    rows: Sequence[Row],
    missing: Sequence[Task],
) -> Cells:
    """Return what is done and what is missing."""
    table = [["variant", "tier", "done", "missing seeds", "core-hours left", "what it is"]]
    for variant in variants:
        left = [task for task in missing if task.variant.name == variant.name]
        wanted = len(seeds(variant))
        done = f"{wanted - len(left)}/{wanted}"
        listed = " ".join(str(task.seed) for task in left)
        need = spelled_hours(left, rows)
        table.append([variant.name, str(variant.tier), done, listed, need, variant.about])
    return table


def hours_left(missing: Sequence[Task], rows: Sequence[Row]) -> float:
    """Return the core-hours of missing runs; NaN if none is finished yet.

    A run is taken to last as the mean of its variant, or else of all runs.
    """
    hours: dict[str, list[float]] = {}
    for row in rows:
        threads = row.get("machine", {}).get("threads", 1)
        hours.setdefault(row["variant"], []).append(row["seconds"] * threads / 3600)
    every = [value for listed in hours.values() for value in listed] or [math.nan]
    return sum(statistics.fmean(hours.get(task.variant.name, every)) for task in missing)


def spelled_hours(missing: Sequence[Task], rows: Sequence[Row]) -> str:
    """Spell :func:`hours_left`."""
    hours = hours_left(missing, rows)
    return "?" if math.isnan(hours) else f"{hours:.1f}"


def markdown(table: Cells) -> str:
    """Spell a table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("---" for _ in table[0]) + " |")
    return "\n".join(lines)


def plain(table: Cells) -> str:
    """Spell a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def _paper(variant: Variant, against: Variant | None, score: str) -> list[str]:
    """Return the paper's figure of a variant and its difference to that of another."""
    if score not in PAPERS or variant.paper is None:
        return ["", ""]
    figure = getattr(variant.paper, PAPERS[score])
    if not figure:
        return [f"not legible ({variant.paper.table})", ""]
    shown = f"{figure} ({variant.paper.table})"
    other = "" if against is None or against.paper is None else against.paper
    base = getattr(other, PAPERS[score]) if other else ""
    if not base or against is variant:
        return [shown, ""]
    return [shown, signed(float(figure.split()[0]) - float(base.split()[0]))]


def signed(value: float) -> str:
    """Spell a difference; NaN is empty."""
    return "" if math.isnan(value) else f"{value:+.1f}"


def interval(pair: tuple[float, float]) -> str:
    """Spell an interval; that of NaN is empty."""
    return "" if math.isnan(pair[0]) else f"{pair[0]:+.1f} to {pair[1]:+.1f}"
