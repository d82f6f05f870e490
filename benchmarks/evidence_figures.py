"""The figures of the page "Evidence", from the lines that the runs wrote; nothing is trained here.

    python benchmarks/evidence_figures.py --output figures

One for each of its claims: `gain.png` (FSR with the paper's targets, and what these say),
`targets.png` (with standardised ones), `choices.png` (masks, pooling, presets), `thresholds.png`
(CAMs by threshold) and `bound.png` (beside training with full masks). Beside them `nats.png`, what
both kinds of targets say in the course of a run, `photographs.png`, `methods.png`, all methods
side by side, and `growth.png`, how cost grows, for the page "Benchmarks". One whose runs have not
been made is not drawn. The documentation draws them while it is built, see `docs/_ext/tables.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _ablation_finished import finished
from _ablation_scores import Row, cam_sweep_by_seed
from _ablation_variants import BASELINE, FULL, VARIANTS
from _evidence_choices import choices
from _evidence_drawing import (
    BEST_CAM,
    CALLED,
    COLOURS,
    INFORMATIVE,
    by_seed,
    gain,
    label,
    plain,
    save,
)
from _evidence_methods import side_by_side
from _growth_drawing import growth
from _methods_tables import finished as methods_run
from _paired import compare
from matplotlib import pyplot as plt
from methods import RESULTS as METHODS_RUN
from methods import ROWS as METHODS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "ablation"
PROTOTYPES = 256
OF_PAPER = {"uncertain": "L_u alone", "confident-mca": "L_c alone", FULL: "FSR: both"}
BOUND = "full-masks"
LIGHT = {"patches": 1.0, "aggregate": 0.55}


def rows(*names: str) -> list[Row]:
    """Return the runs of some files."""
    return [row for name in names for row in finished(RESULTS / f"{name}.jsonl")]


def small_gain(output: Path) -> None:
    """Draw the gains of L_u, L_c and both beside the paper's, and what the targets said."""
    runs = rows("final", "confirmation")
    if not any(row["variant"] == FULL for row in runs):
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    base = by_seed(runs, BASELINE, "prediction")
    for place, name in enumerate(OF_PAPER):
        gain(left, place, by_seed(runs, name, "prediction"), base, COLOURS[FULL])
        paper, floor = VARIANTS[name].paper, VARIANTS[BASELINE].paper
        if paper and floor:
            claimed = float(paper.prediction) - float(floor.prediction)
            left.plot(place, claimed, "o", color="black", fillstyle="none")
            label(left, claimed, place)
    left.annotate("the paper, VOC", (0.65, 6.35), fontsize=8)
    left.axhline(0, color="black", linewidth=0.8)
    left.set_xticks(range(len(OF_PAPER)), list(OF_PAPER.values()))
    left.set_xlim(-0.5, len(OF_PAPER) - 0.3)
    left.set_ylim(top=7)
    left.set_ylabel("points over the baseline, by seed")
    plain(left, "prediction mIoU")
    for kind, (places, said) in paper_nats().items():
        said_by = "of patches" if kind == "patches" else "of the aggregate"
        right.plot(places, said, color=COLOURS[FULL], alpha=LIGHT[kind], label=said_by)
    _nats_axis(right)
    right.set_ylabel("nats from uniform")
    if right.lines[1:]:
        right.legend(frameon=False, fontsize=8, loc=(0.6, 0.6))
    plain(right, "what the paper's targets say")
    save(figure, output / "gain.png")


def informative(output: Path) -> None:
    """Draw differences to the baseline by seed, with the paper's targets and standardised ones."""
    scores = {
        "prediction": "prediction mIoU",
        "trimap": "within 3 px of a boundary",
        BEST_CAM: "CAM mIoU, each at its best",
    }
    sides = {FULL: rows("final"), INFORMATIVE: rows("targets")}
    _panels(sides, scores, output / "targets.png")


def photographs(output: Path) -> None:
    """Draw the same of the runs on photographs."""
    scores = {
        "prediction": "prediction mIoU",
        "after_crf": "after a dense CRF",
        "cam_best": "CAM mIoU, each at its best",
    }
    runs = finished(RESULTS.parent / "photographs" / "final.jsonl")
    names = [name for name in (FULL, INFORMATIVE) if any(row["variant"] == name for row in runs)]
    _panels(dict.fromkeys(names, runs), scores, output / "photographs.png")


def _panels(sides: dict[str, list[Row]], scores: dict[str, str], path: Path) -> None:
    """Draw one panel a score: differences of each variant to the baseline of its own runs."""
    if not any(by_seed(runs, BASELINE, "prediction") for runs in sides.values()):
        return
    figure, axes = plt.subplots(1, len(scores), figsize=(8.6, 3.2), sharey=True)
    for axis, (score, title) in zip(axes, scores.items(), strict=True):
        for place, (name, runs) in enumerate(sides.items()):
            mine, base = (by_seed(runs, each, score) for each in (name, BASELINE))
            gain(axis, place, mine, base, COLOURS[name])
        axis.axhline(0, color="black", linewidth=0.8)
        called = (CALLED[name].removeprefix("FSR, ") for name in sides)
        wrapped = [name.replace(" targets", "\ntargets") for name in called]
        axis.set_xticks(range(len(sides)), wrapped, fontsize=9)
        axis.set_xlim(-0.5, len(sides) - 0.3)
        plain(axis, title)
    axes[0].set_ylabel("points over the baseline, by seed")
    save(figure, path)


def paper_nats() -> dict[str, tuple[list[float], list[float]]]:
    """Return by kind of token how far the paper's targets are from uniform, by share of the run."""
    path = RESULTS / "targets.json"
    recorded = json.loads(path.read_text()) if path.exists() else {}
    run: Any = next((run for name, run in recorded.items() if "paper" in name), None)
    if run is None:
        return {}
    places = [record["step"] / run["steps"] for record in run["records"]]
    return {
        kind: (places, [run["uniform"] - record[f"{short}_entropy"] for record in run["records"]])
        for kind, short in (("patches", "patch"), ("aggregate", "aggregate"))
    }


def nats(output: Path) -> None:
    """Draw how far the targets of both forms are from uniform in the course of a run."""
    runs = [row["losses"] for row in rows("targets") if row["variant"] == INFORMATIVE]
    of_paper = paper_nats()
    if not runs or not of_paper:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    for axis, kind in zip(axes, ("patches", "aggregate"), strict=True):
        axis.plot(*of_paper[kind], color=COLOURS[FULL], label=CALLED[FULL])
        tenths = zip(*(losses[f"{kind}_nats"] for losses in runs), strict=True)
        means = [statistics.fmean(values) for values in tenths]
        middles = [(part + 0.5) / len(means) for part in range(len(means))]
        axis.plot(middles, means, color=COLOURS[INFORMATIVE], label=CALLED[INFORMATIVE])
        _nats_axis(axis)
        plain(axis, f"targets of {'patches' if kind == 'patches' else 'the aggregate'}")
    axes[0].set_ylabel("nats from uniform")
    axes[1].legend(frameon=False, fontsize=8, loc=(0.42, 0.68))
    save(figure, output / "nats.png")


def _nats_axis(axis: Any) -> None:
    """Draw all that there is to say, and name the axis of steps."""
    most = math.log(PROTOTYPES)
    axis.axhline(most, color="black", linewidth=0.8, linestyle=":")
    axis.annotate(f"all that {PROTOTYPES} prototypes can say", (0.3, most + 0.06), fontsize=8)
    axis.set_xlabel("share of the run")
    axis.set_ylim(0, most * 1.08)


def thresholds(output: Path) -> None:
    """Draw CAM mIoU by threshold, and the difference to the baseline of the same runs."""
    first, second = rows("final"), rows("targets")
    sides = ((BASELINE, second), (FULL, first), (INFORMATIVE, second))
    sweeps = {name: cam_sweep_by_seed(runs, name) for name, runs in sides}
    # Means over the same seeds, or a line would lie higher for the seeds it has.
    seeds = [set(side) for sweep in sweeps.values() for side in sweep.values()]
    if not all(sweeps.values()) or not (shared := set.intersection(*seeds)):
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    bases = {FULL: cam_sweep_by_seed(first, BASELINE), INFORMATIVE: sweeps[BASELINE]}
    for name, sweep in sweeps.items():
        shown = {float(t): {s: 100 * sweep[t][s] for s in shared} for t in sorted(sweep, key=float)}
        means = [statistics.fmean(side.values()) for side in shown.values()]
        left.plot(list(shown), means, color=COLOURS[name], label=CALLED[name])
        if name == BASELINE:
            continue
        base = {float(t): {s: 100 * v for s, v in side.items()} for t, side in bases[name].items()}
        told = [compare(side, base[t]) for t, side in shown.items()]
        right.plot(list(shown), [one.difference for one in told], color=COLOURS[name])
        low, high = zip(*(one.student for one in told), strict=True)
        right.fill_between(list(shown), low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
    right.axhline(0, color="black", linewidth=0.8)
    for axis, title in ((left, "CAM mIoU"), (right, "points over the baseline, 95% t")):
        axis.set_xlabel("threshold of the CAM")
        plain(axis, title)
    left.legend(frameon=False, fontsize=8)
    save(figure, output / "thresholds.png")


def bound(output: Path) -> None:
    """Draw the gains of FSR beside what the same network gains from full masks."""
    first = rows("final", "confirmation")
    sides = {FULL: first, INFORMATIVE: rows("targets"), BOUND: first}
    called = {**CALLED, BOUND: "trained with full masks"}
    if not by_seed(first, BOUND, "prediction"):
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.2), sharey=True, sharex=True)
    titles = {"prediction": "prediction mIoU", "trimap": "within 3 px of a boundary"}
    for axis, (score, title) in zip(axes, titles.items(), strict=True):
        for place, (name, runs) in enumerate(reversed(sides.items())):
            found = compare(by_seed(runs, name, score), by_seed(runs, BASELINE, score))
            if not found.pairs:
                continue
            low, high = found.student
            error = [[found.difference - low], [high - found.difference]]
            colour = COLOURS.get(name, "#444444")
            axis.barh(place, found.difference, 0.6, color=colour, xerr=error)
            axis.annotate(f"{found.difference:+.1f}", (high + 0.3, place), va="center")
        axis.set_yticks(range(len(sides)), [called[name] for name in reversed(sides)])
        axis.set_xlabel("points over the baseline, 95% t")
        axis.set_xlim(right=20)
        plain(axis, title)
    save(figure, output / "bound.png")


FIGURES: dict[str, Callable[[Path], None]] = {
    "gain": small_gain,
    "targets": informative,
    "thresholds": thresholds,
    "bound": bound,
    "nats": nats,
    "photographs": photographs,
    "choices": lambda output: choices(rows("final"), rows("targets"), output),
    "methods": lambda output: side_by_side(
        methods_run(METHODS_RUN), list(METHODS), output / "methods.png"
    ),
    "growth": lambda output: growth(RESULTS.parent, output),
}


def main(argv: list[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to draw into")
    output = parser.parse_args(argv).output
    for draw in FIGURES.values():
        draw(output)


if __name__ == "__main__":
    main()
