"""Numbers in prose that come from the lines of the runs.

    python docs/_ext/prose_numbers.py        # after new runs: puts them right in the pages

A page writes ``<!-- gain both prediction -->+0.7 (+0.2 to +1.2)<!-- / -->``. The comments show
nowhere, so the source reads as text; the build puts in what the lines say, the command above
writes it into the source. See :data:`NUMBERS` for what may stand in the first comment. A number
whose runs are not there stays as it is written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import ablation_rows
import photograph_rows
from _ablation_scores import Row
from _ablation_tables import comparison, interval, signed
from _ablation_thresholds import best_threshold_table
from _ablation_variants import BASELINE, VARIANTS
from _paired import Comparison

PAGES = Path(__file__).parents[1]
MARKED = re.compile(r"<!-- ([a-z_]+(?: [^ >]+)*) -->(.*?)<!-- / -->", re.DOTALL)


def _runs(name: str) -> list[Row]:
    return photograph_rows.runs() if name == "photographs" else ablation_rows.runs(name)


def _compared(variant: str, score: str, against: str, name: str) -> Comparison:
    for one in (variant, against):
        if one not in VARIANTS:
            raise ValueError(f"expected one of {tuple(VARIANTS)}, got {one}")
    return comparison(_runs(name), variant, against, "student", score)


def gain(variant: str, score: str, against: str = BASELINE, name: str = "final") -> str:
    """Return a difference and its 95% t interval."""
    found = _compared(variant, score, against, name)
    return f"{signed(found.difference)} ({interval(found.student)})" if found.pairs > 1 else ""


def points(variant: str, score: str, against: str = BASELINE, name: str = "final") -> str:
    """Return a difference alone."""
    return signed(_compared(variant, score, against, name).difference)


def pairs(variant: str, score: str, against: str = BASELINE, name: str = "final") -> str:
    """Return the number of seeds of a difference."""
    found = _compared(variant, score, against, name).pairs
    return str(found) if found else ""


def mean(variant: str, score: str, name: str = "final") -> str:
    """Return the mean of a score."""
    found = _compared(variant, score, variant, name)
    return f"{found.mean:.1f}" if found.seeds else ""


def gain_at_best(variant: str, against: str = BASELINE, name: str = "final") -> str:
    """Return the difference of CAM mIoU with each of the two at its best threshold."""
    _, *told = best_threshold_table(_runs(name), [], [VARIANTS[variant]], against)
    return f"{told[0][5]} ({told[0][6]})" if told and told[0][6] else ""


def best(variant: str, name: str = "final") -> str:
    """Return the threshold that is best for a variant's CAMs."""
    if variant == BASELINE:
        others = [v for v in VARIANTS.values() if v.name != BASELINE]
        _, *told = best_threshold_table(_runs(name), [], others)
        return told[0][3] if told else ""
    _, *told = best_threshold_table(_runs(name), [], [VARIANTS[variant]])
    return told[0][1] if told else ""


def gain_at(threshold: str, variant: str, name: str = "final") -> str:
    """Return the difference of CAM mIoU to the baseline at one threshold."""
    _, *table = ablation_rows.thresholds(variant, name=name)
    return next((row[2] for row in table if row[0] == threshold and len(row) > 2), "")


NUMBERS: dict[str, Callable[..., str]] = {
    "best": best,
    "gain": gain,
    "gain_at": gain_at,
    "gain_at_best": gain_at_best,
    "mean": mean,
    "pairs": pairs,
    "points": points,
}


def said(what: str) -> str:
    """Return the text of one mark, empty where nothing was run."""
    name, *arguments = what.split()
    if name not in NUMBERS:
        raise ValueError(f"{what}: expected one of {sorted(NUMBERS)}, got {name}")
    try:
        return NUMBERS[name](*arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error


def renewed(text: str, *, keep: bool) -> str:
    """Return a page with its numbers as the lines have them, with or without the marks."""

    def number(mark: re.Match[str]) -> str:
        now = said(mark[1]) or mark[2]
        return (
            f"<!-- {mark[1]} -->{now}<!-- / -->" if keep else now.replace(" to ", "\u00a0to\u00a0")
        )

    return MARKED.sub(number, text)


def main() -> None:
    """Put the numbers of all pages right."""
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        now = renewed(text, keep=True)
        if now != text:
            path.write_text(now, encoding="utf-8")
            sys.stdout.write(f"{path.name}: renewed\n")


if __name__ == "__main__":
    main()
