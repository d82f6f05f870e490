"""The figure of what makes next to no difference: masks, pooling and presets, each to its twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _ablation_scores import Row
from _ablation_variants import FULL
from _evidence_drawing import CALLED, COLOURS, INFORMATIVE, by_seed, plain, save
from _paired import compare
from matplotlib import pyplot as plt

# What each row departs from in one thing, and what to call the row.
CHOICES = {
    "uncertain": {
        "random-0.4": "masks: random",
        "random-0.2": "masks: random, ratio 0.2",
        "uncertain-0.2": "masks: uncertain, ratio 0.2",
        "cam-strict": "masks: strict, by CAM",
        "edge-strict": "masks: strict, by edges",
    },
    "confident-mca": {"confident-gap": "pooling: average", "confident-gmp": "pooling: maximum"},
    FULL: {
        "preset-reference": "preset: reference",
        "preset-paper": "preset: paper",
        "masking-exclude": "masked tokens: left out",
        "masking-scale": "masked tokens: logit 0",
    },
}
SCORES = {"prediction": "prediction mIoU", "cam": "CAM mIoU at 0.2"}
EDGE = 4.5  # points; intervals of four seeds that reach farther end in an arrow


def choices(runs: Sequence[Row], informative: Sequence[Row], output: Path) -> None:
    """Draw differences of each choice to the row that it departs from in one thing.

    Args:
        runs: of tiers 1 and 2.
        informative: of tiers 4 and 5, the same rows with standardised targets, as far as they are.
        output: folder of the figure.
    """
    listed = [(name, base, said) for base, ways in CHOICES.items() for name, said in ways.items()]
    sides = [(runs, "", FULL, 0.0)]
    if any(row["variant"] == f"{name}-std" for row in informative for name, *_ in listed):
        sides = [(runs, "", FULL, 0.15), (informative, "-std", INFORMATIVE, -0.15)]
    if not any(row["variant"] == name for row in runs for name, *_ in listed):
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, sharex=True)
    for axis, (score, title) in zip(axes, SCORES.items(), strict=True):
        for place, (name, base, _) in enumerate(reversed(listed)):
            for side, ending, kind, shift in sides:
                found = compare(
                    by_seed(side, name + ending, score), by_seed(side, base + ending, score)
                )
                if found.pairs < 2:
                    continue
                low, high = (max(-EDGE, min(EDGE, end)) for end in found.student)
                height, colour = place + shift, COLOURS[kind]
                axis.plot([low, high], [height] * 2, color=colour, linewidth=2)
                for end, mark in ((low, "<"), (high, ">")):
                    if abs(end) == EDGE:
                        axis.plot(end, height, mark, color=colour, markersize=5)
                axis.plot(found.difference, height, "D", color=colour, markersize=5)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(listed)), [said for *_, said in reversed(listed)], fontsize=9)
        axis.set_xlabel("points over its twin, 95% t")
        plain(axis, title)
    if len(sides) > 1:
        marks = [
            axes[0].plot([], [], "D-", color=COLOURS[kind], markersize=5)[0]
            for *_, kind, _ in sides
        ]
        called = [CALLED[kind].removeprefix("FSR, ") for *_, kind, _ in sides]
        axes[1].legend(marks, called, frameon=False, loc="lower right", bbox_to_anchor=(1, 1.1))
    save(figure, output / "choices.png")
