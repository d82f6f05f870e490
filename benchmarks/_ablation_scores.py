"""What a run is scored by, and reading it from finished runs; the standard library is enough."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
TRIMAP_WIDTH = 3  # pixels
SCORES = {
    "cam": "CAM mIoU",
    "prediction": "prediction mIoU",
    "trimap": f"prediction mIoU within {TRIMAP_WIDTH} px of a boundary",
    "pseudo": "refined pseudo label mIoU where decided",
    "pseudo_decided": "pixels that the refined pseudo label decides",
    "label_f1": "label F1",
}
# The bound trains encoder and decoder; its classifiers stay as they were drawn.
OF_MASKS = ("prediction", "trimap")


def scores_by_seed(rows: Sequence[Row], variant: str, network: str, score: str) -> dict[int, float]:
    """Return one score of a variant by seed; runs without it are left out.

    Args:
        rows: finished runs.
        variant: its name.
        network: "student" or "teacher".
        score: name of the score.
    """
    found = {}
    for row in rows:
        value = (row["scores"] or {}).get(network, {}).get(score)
        if row["variant"] == variant and value is not None:
            found[row["seed"]] = value
    return found


def cam_sweep_by_seed(rows: Sequence[Row], variant: str) -> dict[str, dict[int, float]]:
    """Return the student's CAM mIoU of a variant by threshold, then by seed.

    Args:
        rows: finished runs.
        variant: its name.
    """
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["variant"] == variant:
            sweep = (row["scores"] or {}).get("student", {}).get("cam_sweep", {})
            for threshold, value in sweep.items():
                found.setdefault(threshold, {})[row["seed"]] = value
    return found


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the options of a recorded setting that have another value now.

    One that the record lacks did not exist then, so it was not set; it counts as unchanged.
    """
    # Through JSON, where a record has been: tuples become lists.
    then, current = (json.loads(json.dumps(dict(options))) for options in (before, now))
    return [name for name, value in then.items() if current.get(name) != value]
