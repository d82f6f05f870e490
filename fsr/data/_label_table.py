"""Tables of image-level labels as CSV: read with every row checked, written in two forms."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from fsr._core.checks import check_choice
from fsr._core.files import whole_file
from fsr.data._class_names import (
    IMAGE,
    LABELS,
    SEPARATOR,
    check_class_names,
    is_text,
)
from fsr.data._label_cells import read_cells
from fsr.data._label_names import known_names
from fsr.data._label_reading import check_images, read_label_columns
from fsr.data._label_row import LabelRow as LabelRow
from fsr.data._label_row import LabelTable as LabelTable
from fsr.errors import DataError

FORMS = ("list", "onehot")


def read_labels(path: str | Path, *, class_names: Sequence[str] | None = None) -> LabelTable:
    """Read a table of image-level labels and check every row.

    Args:
        path: CSV in UTF-8, or in any Unicode with a byte-order mark, its columns separated by
            commas, semicolons or tabs: a column ``image`` and either a column ``labels`` (names
            separated by semicolons) or a column of 0 and 1 per class. Columns that number the rows
            are left out.
        class_names: names that the table may use, in order; by default its columns in their order,
            or the names in the column ``labels``, sorted. An image has none of the classes that the
            table does not mention.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such table; the message has the line and the way out.
    """
    table = read_label_columns(Path(path).expanduser(), class_names)
    labels = map(table.sets.__getitem__, table.codes.tolist())
    return LabelTable(
        table.class_names, tuple(map(LabelRow, table.images, labels, table.lines.tolist()))
    )


def write_labels(
    path: str | Path, rows: Iterable[LabelRow], class_names: Sequence[str], *, form: str = "list"
) -> None:
    """Write a table of image-level labels; it appears whole or not at all.

    Args:
        path: CSV to write; its folder must exist.
        rows: the images and the names of their classes.
        class_names: names of all classes, in order.
        form: ``"list"`` (column ``labels``) or ``"onehot"`` (a column per class, which also keeps
            the order of the classes and those that no image has).

    Raises:
        ValueError: there is no such form.
        DataError: an image comes twice or without a name, or a class name cannot be written or is
            not among ``class_names``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> write_labels(path, [LabelRow("a.jpg", ("dog",))], ("cat", "dog"), form="onehot")
        >>> print(path.read_text().strip())
        image,cat,dog
        a.jpg,0,1
        >>> read_labels(path).rows
        (LabelRow(image='a.jpg', labels=('dog',), line=2),)
    """
    check_choice("form", form, FORMS)
    rows = list(rows)
    path = Path(path).expanduser()
    names = check_class_names(path, class_names)
    check_images(path, [row.image for row in rows], [row.line for row in rows])
    for row in rows:
        _check_writable(row, path)
        known_names(path, row.line, row.labels, names)
    if form == "list":
        _check_readable(path, rows, names)
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([IMAGE, *(names if form == "onehot" else (LABELS,))])
        for row in rows:
            flags = [str(int(name in row.labels)) for name in names]
            writer.writerow([row.image, *(flags if form == "onehot" else _joined(row, names))])


def _joined(row: LabelRow, names: Sequence[str]) -> tuple[str]:
    return (SEPARATOR.join(name for name in names if name in row.labels),)


def _check_writable(row: LabelRow, path: Path) -> None:
    """Raise if the path of an image would not be read back as it is."""
    if not is_text(row.image):
        raise DataError(
            f"{path}: the file name {row.image!r} cannot be written: expected UTF-8 text without "
            "spaces around it; rename the file"
        )


def _check_readable(path: Path, rows: Sequence[LabelRow], names: Sequence[str]) -> None:
    """Raise if a column of names would be read back otherwise."""
    cells = [(0, _joined(row, names)[0]) for row in rows]
    try:
        found = read_cells(path, cells, None)
    except DataError:
        found = []
    if [set(labels) for labels in found] != [set(row.labels) for row in rows]:
        raise DataError(
            f"{path}: names of classes cannot be told from several in one cell of a column of "
            "names; write a column per class: form='onehot', --form onehot"
        )
