"""Paired differences over seeds: their mean, and how uncertain it is. Pure functions, no files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
# Two-sided 97.5% points of Student's t for 1 to 9 degrees of freedom.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL = 1.959964
# Beyond: Cornish and Fisher by powers of 1 / freedom, with factors by powers of NORMAL.
EXPANSION: tuple[dict[int, float], ...] = (
    {3: 1 / 4, 1: 1 / 4},
    {5: 5 / 96, 3: 16 / 96, 1: 3 / 96},
    {7: 3 / 384, 5: 19 / 384, 3: 17 / 384, 1: -15 / 384},
)
NOTHING = (math.nan, math.nan)


class Comparison(NamedTuple):
    """One score of a variant beside the same score of the baseline.

    Attributes:
        seeds: number of seeds that the variant was run with.
        mean: mean of the score over them; NaN if there is none.
        spread: standard deviation over them; NaN with less than two.
        pairs: number of seeds that both were run with.
        difference: mean over those of the variant's score less the baseline's.
        bootstrap: 95% interval of that mean, from resampled seeds.
        student: the same by Student's t, which is wider where seeds are few.
    """

    seeds: int
    mean: float
    spread: float
    pairs: int
    difference: float
    bootstrap: tuple[float, float]
    student: tuple[float, float]

    @property
    def effect(self) -> str:
        """Return "+" or "-" where both intervals lie on one side of 0, else an empty text."""
        if min(self.bootstrap[0], self.student[0]) > 0:
            return "+"
        return "-" if max(self.bootstrap[1], self.student[1]) < 0 else ""


def compare(variant: Mapping[int, float], baseline: Mapping[int, float]) -> Comparison:
    """Compare scores by seed. Seeds that only one side has count for its own mean alone.

    Args:
        variant: score by seed.
        baseline: score by seed.
    """
    values = [variant[seed] for seed in sorted(variant)]
    gaps = differences(variant, baseline)
    return Comparison(
        seeds=len(values),
        mean=statistics.fmean(values) if values else math.nan,
        spread=statistics.stdev(values) if len(values) > 1 else math.nan,
        pairs=len(gaps),
        difference=statistics.fmean(gaps) if gaps else math.nan,
        bootstrap=bootstrap_interval(gaps),
        student=student_interval(gaps),
    )


def differences(variant: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Return variant less baseline for every seed that both have, in the order of the seeds."""
    return [variant[seed] - baseline[seed] for seed in sorted(variant.keys() & baseline.keys())]


def bootstrap_interval(
    gaps: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the 2.5% and 97.5% points of the mean of resampled differences.

    Args:
        gaps: differences, one per seed; with less than two there is no interval, but NaN.
        resamples: how often as many of them are drawn, with replacement.
        seed: of the draws.
    """
    if len(gaps) < 2:
        return NOTHING
    drawn = np.random.default_rng(seed).integers(0, len(gaps), (resamples, len(gaps)))
    low, high = np.percentile(np.asarray(gaps)[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def student_interval(gaps: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of the mean difference by Student's t; NaN with less than two."""
    if len(gaps) < 2:
        return NOTHING
    mean = statistics.fmean(gaps)
    half = student_t(len(gaps) - 1) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return mean - half, mean + half


def student_t(freedom: int) -> float:
    """Return the 97.5% point of Student's t.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom <= len(STUDENT_T):
        return STUDENT_T[freedom - 1]
    z, total = NORMAL, NORMAL
    for power, terms in enumerate(EXPANSION, start=1):
        total += sum(factor * z**exponent for exponent, factor in terms.items()) / freedom**power
    return total


def agree(one: Comparison, other: Comparison) -> bool:
    """Whether two measurements of a difference can be the same.

    Their means lie no farther apart than the root of the summed squares of their t half-widths,
    about the 95% interval of the distance of two independent means.
    """
    halves = ((c.student[1] - c.student[0]) / 2 for c in (one, other))
    return abs(one.difference - other.difference) <= math.hypot(*halves)
