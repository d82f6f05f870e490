"""Plot of a threshold sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from fsr._core.checks import check_choice
from fsr._core.files import whole_file
from fsr._core.optional import import_extra


def plot_threshold_sweep(
    sweep: Mapping[float, tuple[float, float]], path: str | Path, *, title: str = ""
) -> None:
    """Draw mIoU against the CAM threshold, final and auxiliary layer, the best ones marked.

    Args:
        sweep: ``cam_sweep`` of :class:`fsr.inference.EvaluationResult`: mIoU of the final and of
            the auxiliary layer's CAM by threshold.
        path: picture to write, ``.png``, ``.pdf`` or ``.svg``.
        title: line above the plot.

    Raises:
        ImportError: matplotlib is not installed (extra ``viz``).
        ValueError: there are fewer than two thresholds, or the picture has another format.
        OutputError: the picture cannot be written.
    """
    path = Path(path)
    check_choice("path", path.suffix, (".png", ".pdf", ".svg"))
    if len(sweep) < 2:
        raise ValueError(f"sweep: expected at least two thresholds, got {len(sweep)}")
    figures = import_extra("matplotlib.figure", "viz", "plot_threshold_sweep")
    # A figure of its own, without pyplot: nothing global, no window system.
    figure = figures.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    thresholds = sorted(sweep)
    for layer, name in enumerate(("final layer", "auxiliary layer")):
        scores = [100 * sweep[threshold][layer] for threshold in thresholds]
        (line,) = axes.plot(thresholds, scores)
        # Without a mask there is no score, and no best one.
        known = [index for index, score in enumerate(scores) if not math.isnan(score)]
        if not known:
            line.set_label(f"{name}: no score")
            continue
        best = max(known, key=scores.__getitem__)
        label = f"{name}: {scores[best]:.1f} at {thresholds[best]:g}"
        axes.plot(thresholds[best], scores[best], "o", color=line.get_color(), label=label)
    axes.set_xlabel("CAM threshold")
    axes.set_ylabel("mIoU in per cent")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=150, format=path.suffix[1:])
