"""Tables of CAM mIoU at other thresholds than the one that all variants are scored at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from _ablation_scores import Row, cam_sweep_by_seed
from _ablation_tables import Cells, interval, signed
from _ablation_variants import BASELINE, Variant
from _paired import compare

Sweep = dict[str, dict[int, float]]


def threshold_table(
    rows: Sequence[Row], variants: Sequence[Variant], against: str = BASELINE
) -> Cells:
    """Return CAM mIoU at every threshold: that of one variant, and the differences of others."""
    base = _sweep(rows, against)
    others = [v.name for v in variants if v.name != against]
    sweeps = {name: _sweep(rows, name) for name in others}
    shown = {name: sweep for name, sweep in sweeps.items() if sweep.keys() & base.keys()}
    table = [["threshold", against, *shown]]
    for threshold in sorted(base, key=float):
        cells = [threshold, f"{statistics.fmean(base[threshold].values()):.1f}"]
        for sweep in shown.values():
            found = compare(sweep.get(threshold, {}), base[threshold])
            spelled = interval(found.student)
            cells.append(signed(found.difference) + (f" ({spelled})" if spelled else ""))
        table.append(cells)
    return table


def best_threshold_table(
    rows: Sequence[Row],
    again: Sequence[Row],
    variants: Sequence[Variant],
    against: str = BASELINE,
) -> Cells:
    """Return differences with each variant at its own best threshold.

    Thresholds are chosen on the seeds of `rows` that both variants have, and kept for `again`: what
    is chosen and scored on the same runs looks a little better than it is.
    """
    here, there = _sweep(rows, against), _sweep(again, against)
    table = [["variant", "its best threshold", "CAM mIoU", f"that of {against}", "CAM mIoU"]]
    table[0] += ["difference", "95% t", "again", "95% t"]
    for variant in variants:
        mine, later = _sweep(rows, variant.name), _sweep(again, variant.name)
        seeds = _seeds(mine) & _seeds(here)
        if variant.name == against or not seeds:
            continue
        (best, mean), (other, base) = (_best(sweep, seeds) for sweep in (mine, here))
        cells = [variant.name, best, f"{mean:.1f}", other, f"{base:.1f}"]
        for one, two in ((mine, here), (later, there)):
            found = compare(one.get(best, {}), two.get(other, {}))
            cells += [signed(found.difference), interval(found.student)]
        table.append(cells)
    return table


def _sweep(rows: Sequence[Row], variant: str) -> Sweep:
    """Return CAM mIoU in per cent by threshold, then by seed."""
    found = cam_sweep_by_seed(rows, variant)
    return {t: {seed: 100 * value for seed, value in side.items()} for t, side in found.items()}


def _seeds(sweep: Sweep) -> set[int]:
    return {seed for side in sweep.values() for seed in side}


def _best(sweep: Sweep, seeds: set[int]) -> tuple[str, float]:
    """Return the threshold of the highest mean over some seeds, and that mean."""
    means = {t: statistics.fmean(side[seed] for seed in seeds) for t, side in sweep.items()}
    best = max(means, key=means.__getitem__)
    return best, means[best]
