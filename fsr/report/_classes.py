"""Scores of every class, and of every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsr.report._numbers import known, percent, thin
from fsr.report._run import Run

MAPS = {"segmentation_iou": "prediction", "cam_iou": "CAM"}
BINS = 20
SPARK = (84, 22)  # width and height of a small curve


def class_table(run: Run) -> dict[str, Any]:
    """Return the columns and rows of the table of classes; no rows without a score.

    Args:
        run: the run.

    Returns:
        ``"columns"``, names of maps and networks; ``"counted"``, whether images are counted by
        class; ``"rows"``, each with ``"name"``, ``"images"``, ``"cells"`` and ``"spark"``.
    """
    last = run.last
    columns = [
        (network, key)
        for network in last
        for key in MAPS
        if any(known(value) for value in last[network].get(key) or ())
    ]
    counted = run.about.get("data", {}).get("train", {}).get("with_class")
    rows = []
    for label, name in enumerate(run.class_names if columns else ()):
        cells = []
        for network, key in columns:
            value = last[network][key][label]
            share = value if known(value) else None
            cells.append({"text": percent(value), "share": share})
        images = counted[label - 1] if counted and label else None
        rows.append({"name": name, "images": images, "cells": cells, "spark": _spark(run, label)})
    return {
        "columns": [f"{MAPS[key]}, {network}" for network, key in columns],
        "counted": bool(counted),
        "rows": rows,
        "sparks": any(row["spark"] for row in rows),
    }


def _spark(run: Run, label: int) -> str:
    """Return the path of a class's score over the evaluations, of the student's prediction."""
    key = "segmentation_iou"
    found = [
        (step, scores.get("student", {}).get(key) or []) for step, scores in run.evaluations.items()
    ]
    if not any(known(value) for _, values in found for value in values):
        key = "cam_iou"
        found = [
            (step, scores.get("student", {}).get(key) or [])
            for step, scores in run.evaluations.items()
        ]
    points = [(step, values[label]) for step, values in found if len(values) > label]
    points = [(step, value) for step, value in points if known(value)]
    if len(points) < 3:
        return ""
    steps, values = thin([step for step, _ in points], [value for _, value in points], most=40)
    first, last = steps[0], steps[-1]
    width, height = SPARK
    across = [(step - first) / max(1, last - first) * (width - 4) + 2 for step in steps]
    up = [height - 2 - value * (height - 4) for value in values]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, up, strict=True))


def image_table(run: Run, most: int = 20) -> dict[str, Any]:
    """Return the images that score worst, and how the scores are spread.

    Without masks the images are those whose labels the network doubts most.

    Args:
        run: the run.
        most: images to list.
    """
    networks = run.scores.get("networks", {})
    if not networks:
        return {}
    names = run.scores["images"]
    # The student is what pictures are of.
    chosen = "student" if "student" in networks else next(iter(networks))
    key = "image_iou"
    if not any(known(value) for value in networks[chosen][key]):
        key = "image_certainty"
    values = networks[chosen][key]
    order = sorted((value, index) for index, value in enumerate(values) if known(value))
    rows = [
        {"name": names[index], "cells": [percent(each[key][index]) for each in networks.values()]}
        for _, index in order[:most]
    ]
    return {
        "masks": key == "image_iou",
        "networks": list(networks),
        "rows": rows,
        "images": len(order),
        "bars": histogram([value for value, _ in order]),
    }


def histogram(values: Sequence[float]) -> list[dict[str, Any]]:
    """Return the bars of how many values lie where between 0 and 1.

    Example:
        >>> [bar["count"] for bar in histogram([0.0, 0.51, 1.0])][::10]
        [1, 1]
    """
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int(value * BINS)))] += 1
    top = max(counts) or 1
    return [
        {"from": 100 * place // BINS, "to": 100 * (place + 1) // BINS, "count": n, "high": n / top}
        for place, n in enumerate(counts)
    ]
