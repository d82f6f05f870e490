"""What a run is scored by, and reading it from finished runs; the standard library is enough."""

from __future__ import annotations

from collections.abc import Sequence
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
