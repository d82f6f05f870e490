"""A table of image-level labels at hand: its rows and its classes."""

from __future__ import annotations

from typing import NamedTuple


class LabelRow(NamedTuple):
    """One image of a table.

    Attributes:
        image: path of the image as the table has it.
        labels: names of its classes.
        line: line of the table, for messages; 0 in rows that were not read.
    """

    image: str
    labels: tuple[str, ...]
    line: int = 0


class LabelTable(NamedTuple):
    """A table that was read.

    Attributes:
        class_names: names of the classes, in order.
        rows: the images, in the table's order.
        notes: what whoever made the table should know, a line each.
    """

    class_names: tuple[str, ...]
    rows: tuple[LabelRow, ...]
    notes: tuple[str, ...] = ()
