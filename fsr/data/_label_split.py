"""A table of labels in two: one to train on, one to measure on."""

from __future__ import annotations

import numpy as np

from fsr.data._label_table import LabelTable


def split_table(table: LabelTable, share: float, seed: int) -> tuple[LabelTable, LabelTable]:
    """Split a table at random into the rest and a share of its rows, both in the old order.

    Images with the same labels are parted alike, so that a class is in both tables where it can be.

    Args:
        table: the table.
        share: share of the rows in the second table, above 0 and below 1; at least one.
        seed: seed of the choice.

    Raises:
        ValueError: ``share`` is out of range, or the table has a single row.

    Example:
        >>> from fsr.data._label_table import LabelRow
        >>> table = LabelTable(("cat",), tuple(LabelRow(f"{i}.jpg", ()) for i in range(5)))
        >>> [len(part.rows) for part in split_table(table, 0.4, seed=0)]
        [3, 2]
    """
    count = len(table.rows)
    if not 0 < share < 1 or count < 2:
        raise ValueError(
            f"share: expected a number between 0 and 1 and at least two images, got {share} and "
            f"{count}"
        )
    size = min(max(1, round(share * count)), count - 1)
    generator = np.random.default_rng(seed)
    # Every so many rows of a list in which equal labels lie together.
    order = sorted(generator.permutation(count).tolist(), key=lambda i: table.rows[i].labels)
    first = int(generator.integers(count))
    chosen = {order[(number * count + first) // size] for number in range(size)}
    rest = tuple(row for index, row in enumerate(table.rows) if index not in chosen)
    part = tuple(row for index, row in enumerate(table.rows) if index in chosen)
    return LabelTable(table.class_names, rest), LabelTable(table.class_names, part)
