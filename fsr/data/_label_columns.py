"""The columns of a table of labels: which holds the images, which the classes, which neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fsr.data._class_names import IMAGE, LABELS, check_class_names, likeness
from fsr.data._label_file import TableLines
from fsr.errors import DataError

# What pandas calls a column without a name, and the copy of a column.
_UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*")
_COPY = re.compile(r"(.*[^\W\d_])\.\d+", flags=re.DOTALL)
# Heads of columns that number the rows.
_INDEX = frozenset({"#", "id", "idx", "index", "level_0", "no.", "nr.", "row", "unnamed"})
# Heads that people give to the columns `image` and `labels`.
_IMAGES = frozenset({"image", "images", "imagepath", "imagename", "imageid", "img", "imgpath"}) | {
    "imagefile", "file", "filename", "filepath", "name", "path", "photo", "picture"
}  # fmt: skip
_LABELS = frozenset({"label", "labels", "class", "classes", "classname", "category"}) | {
    "categories", "tag", "tags", "target", "targets"
}  # fmt: skip
_WAY_OUT = "leave it out (pandas: to_csv(..., index=False))"


class Columns(NamedTuple):
    """Where things are in each line of a table.

    Attributes:
        image: index of the column of images.
        labels: index of the column of names, None with a column per class.
        classes: name and index of every column of a class.
    """

    image: int
    labels: int | None
    classes: dict[str, int]


def find_columns(path: Path, table: TableLines) -> Columns:
    """Find the columns of a table; those that number the rows, or are empty, are left out.

    Args:
        path: the table, for messages.
        table: its lines.

    Raises:
        DataError: the columns are none of a table of labels, or lines differ in length; the message
            has the line and the way out.
    """
    number, header = table.header
    where = f"{path}: line {number}"
    _check_image(where, header)
    _check_lengths(path, table)
    kept = [
        index
        for index, name in enumerate(header)
        if name == IMAGE or not _is_left_out(where, index, name, table.columns[index])
    ]
    names = [header[index] for index in kept]
    classes = [name for name in names if name != IMAGE]
    got = f"got {', '.join(map(repr, names))}"
    expected = f"{where}: expected a column {IMAGE!r}"
    if len(classes) != len(names) - 1:
        raise DataError(f"{where}: expected one column {IMAGE!r}, {got}")
    if not classes or (LABELS in classes and classes != [LABELS]):
        raise DataError(f"{expected} and either a column {LABELS!r} or one column per class, {got}")
    image = header.index(IMAGE)
    if classes == [LABELS]:
        return Columns(image, header.index(LABELS), {})
    check_class_names(path, classes)
    _check_heads(where, path, classes)
    return Columns(image, None, {header[index]: index for index in kept if index != image})


def _check_image(where: str, header: Sequence[str]) -> None:
    """Raise if no column is that of the images."""
    if IMAGE in header:
        return
    hint = ""
    near = next((name for name in header if likeness(name) in _IMAGES), None)
    if near is not None:
        hint = f"; call the column {near!r} {IMAGE!r}"
    elif "" in header:
        hint = f"; if the column without a name holds the images, call it {IMAGE!r}"
    elif len(header) == 1:
        hint = "; separate columns by commas, semicolons or tabs"
    raise DataError(
        f"{where}: expected a column {IMAGE!r} and a column {LABELS!r} or one column per class, "
        f"got {', '.join(map(repr, header))}{hint}"
    )


def _check_lengths(path: Path, table: TableLines) -> None:
    """Raise if a line has more or fewer values than the header."""
    wrong, width = table.uneven, len(table.header.cells)
    if not wrong:
        return
    hint = f"put a value that holds {_spelled(table.delimiter)} into quotes"
    longer = not table.numbers.size and all(len(line.cells) == width + 1 for line in wrong)
    if longer and _are_numbers([line.cells[0] for line in wrong]):
        hint = f"their first value is a row number, an index that the header lacks: {_WAY_OUT}"
    raise DataError(
        f"{path}: line {wrong[0].number}: expected {width} values, got "
        f"{len(wrong[0].cells)}; {hint}"
    )


def _is_left_out(where: str, index: int, name: str, values: Sequence[str]) -> bool:
    """Tell whether a column numbers the rows or is empty; raise if it has values but no name."""
    if _UNNAMED.fullmatch(name):
        if not any(values) or _are_numbers(values):
            return True
        raise DataError(
            f"{where}: column {index + 1} is an unnamed column ({name!r}): give it a name, or, if "
            f"it is an index, {_WAY_OUT}"
        )
    if likeness(name) in _INDEX and _are_numbers(values):
        return not set(values) <= {"0", "1"} or _count_rows(values)
    return len(values) > 2 and _count_rows(values)


def _check_heads(where: str, path: Path, classes: Sequence[str]) -> None:
    """Raise for heads that are no names of classes, though they could be."""
    if len(classes) == 1 and likeness(classes[0]) in _LABELS:
        raise DataError(
            f"{where}: the column {classes[0]!r} is no class; call it {LABELS!r} if it holds names "
            "of classes, or by the name of its class if it holds 0 and 1"
        )
    for name in classes:
        copy = _COPY.fullmatch(name)
        if copy is not None and copy[1] in classes:
            raise DataError(
                f"{path}: expected each class once, got {copy[1]!r} and {name!r}, as pandas names "
                "a column that comes twice"
            )


def _are_numbers(values: Sequence[str]) -> bool:
    """Tell whether values are whole numbers, each once: names of rows."""
    return (
        bool(values)
        and len(set(values)) == len(values)
        and all(re.fullmatch(r"-?\d+(\.0)?", value, flags=re.ASCII) for value in values)
    )


def _count_rows(values: Sequence[str]) -> bool:
    """Tell whether values count the rows from 0 or from 1."""
    return any(
        all(value == str(row) for row, value in enumerate(values, start)) for start in (0, 1)
    )


def _spelled(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(delimiter, repr(delimiter))
