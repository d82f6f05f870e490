"""A table of image-level labels as columns: an image a row, and what is said of many rows once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsr.data._class_names import check_class_names
from fsr.data._coded import Coded, coded
from fsr.data._label_cells import read_cells
from fsr.data._label_columns import find_columns
from fsr.data._label_file import Line, TableLines, read_lines
from fsr.data._label_names import known_names, own_names, place
from fsr.errors import DataError

_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


class LabelColumns(NamedTuple):
    """A table of labels of N images, read.

    Attributes:
        class_names: names of the classes, in order.
        images: path of each image as the table has it.
        lines: line of each image, ``(N,)``, ascending.
        sets: names of the classes of each distinct cell, or row of cells.
        codes: index of each image's set, ``(N,)``.
    """

    class_names: tuple[str, ...]
    images: list[str]
    lines: NDArray[np.int64]
    sets: list[tuple[str, ...]]
    codes: NDArray[np.int32]


def read_label_columns(path: Path, class_names: Sequence[str] | None = None) -> LabelColumns:
    """Read a table as :func:`fsr.data.read_labels` does, without an object for every row.

    Args:
        path: the table.
        class_names: names that the table may use, in order, if they are given.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such table; the message has the line and the way out.
    """
    table = read_lines(path)
    columns = find_columns(path, table)
    given = None if class_names is None else check_class_names("class_names", class_names)
    # A dictionary keeps the order and finds a name among many at once.
    known = None if given is None else dict.fromkeys(given)
    heads = known_names(path, table.header.number, tuple(columns.classes), known)
    cells: Coded[str] | Coded[tuple[str, ...]]
    if columns.labels is not None:
        cells = texts = coded(table.columns[columns.labels])
        lines = table.numbers[cells.first].tolist()
        sets = read_cells(path, list(zip(lines, texts.values, strict=True)), known)
    else:
        cells = rows = coded(_flags(table, columns.classes))
        lines = table.numbers[cells.first].tolist()
        sets = [
            _chosen(path, tuple(columns.classes), Line(line, list(flags)), heads)
            for line, flags in zip(lines, rows.values, strict=True)
        ]
    sets = [known_names(path, line, each, known) for line, each in zip(lines, sets, strict=True)]
    images = table.columns[columns.image]
    if not images:
        raise DataError(f"{path}: expected one line per image, got none")
    check_images(path, images, table.numbers)
    names = given or heads
    if given is None and columns.labels is not None:
        sets, names = own_names(path, sets, lines)
    return LabelColumns(names, images, table.numbers, sets, cells.codes)


def check_images(
    path: Path, images: Sequence[str], lines: Sequence[int] | NDArray[np.int64]
) -> None:
    """Raise if an image is listed twice or has no name.

    Args:
        path: the table, for messages.
        images: the images.
        lines: the line of each; 0 where it was not read.
    """
    if len(set(images)) == len(images) and "" not in images:
        return
    first: dict[str, int] = {}
    for image, line in zip(images, lines, strict=True):
        if not image:
            raise DataError(f"{place(path, line)}: expected the path of an image, got nothing")
        if image in first:
            where = f" in line {first[image]}" if line else ""
            raise DataError(
                f"{place(path, line)}: {image!r} is listed{where} already; put all its "
                "labels into one line"
            )
        first[image] = line


def _flags(table: TableLines, classes: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row that tell of a class."""
    return zip(*(table.columns[index] for index in classes.values()), strict=True)


def _chosen(path: Path, header: Sequence[str], line: Line, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns that hold a 1."""
    chosen = []
    for head, name, value in zip(header, names, line.cells, strict=True):
        # As spreadsheets and pandas write them.
        flag = _FLAGS.get(value.lower())
        if flag is None:
            raise DataError(
                f"{path}: line {line.number}: expected 0 or 1 in column {head!r}, got {value!r}"
            )
        if flag:
            chosen.append(name)
    return tuple(chosen)
