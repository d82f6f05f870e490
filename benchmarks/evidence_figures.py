"""The figures of the page "Evidence", from the lines that the ablation's runs wrote.

    python benchmarks/evidence_figures.py        # into docs/_static/evidence

`pairs.png`: differences to the baseline by seed, FSR with the paper's targets and with standardised
ones. `nats.png`: what the targets say in the course of a run. `thresholds.png`: CAM mIoU at every
threshold. Nothing is trained here.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from _ablation_scores import Row, cam_sweep_by_seed, scores_by_seed
from _ablation_variants import BASELINE, FULL
from _paired import compare
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "ablation"
OUTPUT = HERE.parent / "docs" / "_static" / "evidence"
INFORMATIVE = f"{FULL}-std"
COLOURS = {BASELINE: "#777777", FULL: "#c97b1a", INFORMATIVE: "#1663a8"}
CALLED = {
    BASELINE: "baseline",
    FULL: "FSR, the paper's targets",
    INFORMATIVE: "FSR, standardised targets",
}
DPI = 130


def rows(name: str) -> list[Row]:
    """Return the runs of a file; none if it is not there."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def best_cam(runs: list[Row], variant: str) -> dict[int, float]:
    """Return CAM mIoU by seed at the threshold that is best in the mean over them."""
    sweep = cam_sweep_by_seed(runs, variant)
    best = max(sweep, key=lambda t: statistics.fmean(sweep[t].values()))
    return sweep[best]


def pairs(output: Path) -> None:
    """Draw differences to the baseline by seed, with their mean and t interval."""
    sides = {FULL: rows("final"), INFORMATIVE: rows("targets")}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for axis, title in zip(axes, ("prediction mIoU", "CAM mIoU, each at its best"), strict=True):
        for place, (name, runs) in enumerate(sides.items()):
            if title.startswith("CAM"):
                found = [best_cam(runs, each) for each in (name, BASELINE)]
            else:
                found = [
                    scores_by_seed(runs, each, "student", "prediction") for each in (name, BASELINE)
                ]
            mine, base = ({s: 100 * v for s, v in side.items()} for side in found)
            each = [mine[seed] - base[seed] for seed in sorted(mine.keys() & base.keys())]
            told = compare(mine, base)
            spread = [place + 0.03 * (i - len(each) / 2) for i in range(len(each))]
            axis.scatter(spread, each, s=18, color=COLOURS[name], alpha=0.6, linewidths=0)
            low, high = told.student
            axis.plot([place] * 2, [low, high], color=COLOURS[name], linewidth=2)
            axis.plot(place, told.difference, "D", color=COLOURS[name], markersize=7)
            axis.annotate(f"{told.difference:+.1f}", (place + 0.16, told.difference), va="center")
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(range(len(sides)), [CALLED[name].replace(", ", ",\n") for name in sides])
        axis.set_xlim(-0.5, len(sides) - 0.3)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("points over the baseline, by seed")
    _save(figure, output / "pairs.png")


def nats(output: Path) -> None:
    """Draw how far the targets are from uniform in the course of a run."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    recorded = json.loads((RESULTS / "targets.json").read_text())
    paper = next(run for name, run in recorded.items() if "paper" in name)
    runs = [r["losses"] for r in rows("targets") if r["variant"] == INFORMATIVE]
    for axis, kind, short in zip(
        axes, ("patches", "aggregate"), ("patch", "aggregate"), strict=True
    ):
        places = [record["step"] / paper["steps"] for record in paper["records"]]
        said = [paper["uniform"] - record[f"{short}_entropy"] for record in paper["records"]]
        axis.plot(places, said, color=COLOURS[FULL], label=CALLED[FULL])
        tenths = zip(*(losses[f"{kind}_nats"] for losses in runs), strict=True)
        means = [statistics.fmean(values) for values in tenths]
        middles = [(part + 0.5) / len(means) for part in range(len(means))]
        axis.plot(middles, means, color=COLOURS[INFORMATIVE], label=CALLED[INFORMATIVE])
        axis.axhline(math.log(256), color="black", linewidth=0.8, linestyle=":")
        axis.set_title(
            f"targets of {'patches' if kind == 'patches' else 'the aggregate'}", fontsize=10
        )
        axis.set_xlabel("share of the run")
        axis.set_ylim(0, math.log(256) * 1.08)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("nats from uniform")
    axes[1].legend(frameon=False, fontsize=8, loc=(0.42, 0.68))
    axes[0].annotate("all that 256 prototypes can say", (0.3, math.log(256) + 0.06), fontsize=8)
    _save(figure, output / "nats.png")


def thresholds(output: Path) -> None:
    """Draw CAM mIoU by threshold, means over the seeds."""
    figure, axis = plt.subplots(figsize=(5.5, 3.2))
    sides = ((BASELINE, rows("targets")), (FULL, rows("final")), (INFORMATIVE, rows("targets")))
    sweeps = {name: cam_sweep_by_seed(runs, name) for name, runs in sides}
    # Means over the same seeds, or a line would lie higher for the seeds it has.
    shared = set.intersection(*(set(seeds) for s in sweeps.values() for seeds in s.values()))
    for name, sweep in sweeps.items():
        places = sorted(sweep, key=float)
        means = [100 * statistics.fmean(sweep[t][seed] for seed in shared) for t in places]
        axis.plot([float(t) for t in places], means, color=COLOURS[name], label=CALLED[name])
    axis.set_xlabel("threshold of the CAM")
    axis.set_ylabel("CAM mIoU")
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, output / "thresholds.png")


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args(argv).output
    for draw in (pairs, nats, thresholds):
        draw(output)


if __name__ == "__main__":
    main()
