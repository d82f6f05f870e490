"""Tables of image-level labels as CSV: read with every row checked, written in two forms."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fsr._checks import check_choice
from fsr.data.files import DataError, MissingDataError

IMAGE, LABELS, SEPARATOR = "image", "labels", ";"
FORMS = ("list", "onehot")


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
    """

    class_names: tuple[str, ...]
    rows: tuple[LabelRow, ...]


def read_labels(path: Path, *, class_names: Sequence[str] | None = None) -> LabelTable:
    """Read a table of image-level labels and check every row.

    Args:
        path: CSV in UTF-8 with a column ``image`` and either a column ``labels`` (names separated
            by semicolons) or a column of 0 and 1 per class.
        class_names: names that the table may use, in order; by default those that it has.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such table; the message has the line and the way out.
    """
    lines = _read_lines(path)
    _, header = lines[0]
    if IMAGE not in header:
        raise DataError(
            f"{path}: line 1: expected a column {IMAGE!r} and a column {LABELS!r} or one column "
            f"per class, got {', '.join(header)}"
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: line 1: expected each column once, got {repeated[0]!r} twice")
    columns = [name for name in header if name != IMAGE]
    is_list = columns == [LABELS]
    if not columns or (LABELS in columns and not is_list):
        raise DataError(
            f"{path}: line 1: expected either one column {LABELS!r} or one column per class beside "
            f"{IMAGE!r}, got {', '.join(header)}"
        )
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}: line {line}: expected {len(header)} values, got {len(cells)}; put a "
                "value that holds a comma into quotes"
            )
        values = dict(zip(header, cells, strict=True))
        image = values.pop(IMAGE)
        if not image:
            raise DataError(f"{path}: line {line}: expected the path of an image, got nothing")
        names = _split(values[LABELS]) if is_list else _chosen(values, path, line)
        rows.append(LabelRow(image, names, line))
    if not rows:
        raise DataError(f"{path}: expected one line per image, got none")
    _check_rows(rows, path)
    if class_names is None:
        used = {name for row in rows for name in row.labels}
        class_names = sorted(used) if is_list else columns
    names = check_class_names(path, class_names)
    for row in rows:
        _check_known(row, names, path)
    return LabelTable(names, tuple(rows))


def write_labels(
    path: Path, rows: Iterable[LabelRow], class_names: Sequence[str], *, form: str = "list"
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
    names = check_class_names(path, class_names)
    _check_rows(rows, path)
    # A name of this process alone: the table must never be seen half written.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([IMAGE, *(names if form == "onehot" else (LABELS,))])
        for row in rows:
            _check_known(row, names, path)
            flags = [str(int(name in row.labels)) for name in names]
            writer.writerow([row.image, *(flags if form == "onehot" else _joined(row.labels))])
    unfinished.replace(path)


def check_class_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple; raise if they could not be told apart or written."""
    names = tuple(names)
    if not names:
        raise DataError(f"{path}: expected at least one class, got none")
    for name in names:
        if not name or name != name.strip() or SEPARATOR in name or name in (IMAGE, LABELS):
            raise DataError(
                f"{path}: {name!r} cannot name a class: expected a name without {SEPARATOR!r} and "
                f"spaces around it, other than {IMAGE!r} and {LABELS!r}"
            )
        if name == "background":
            raise DataError(
                f"{path}: 'background' is no class: it is what no class covers; leave it out"
            )
        if names.count(name) > 1:
            raise DataError(f"{path}: expected each class once, got {name!r} twice")
    return names


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Read all lines that hold anything, with their numbers."""
    try:
        # A byte-order mark, as spreadsheets write it, would become part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_numbered(csv.reader(file, strict=True)))
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path}: no such table of labels; examples/prepare_folder.py makes one"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if not lines:
        raise DataError(f"{path}: expected a table with columns {IMAGE!r}, {LABELS!r}; it is empty")
    return lines


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped  # type: ignore[attr-defined]


def _split(text: str) -> tuple[str, ...]:
    """Names in a cell, each once."""
    names = (name.strip() for name in text.split(SEPARATOR))
    return tuple(dict.fromkeys(name for name in names if name))


def _joined(names: Sequence[str]) -> tuple[str]:
    return (SEPARATOR.join(names),)


def _chosen(values: dict[str, str], path: Path, line: int) -> tuple[str, ...]:
    """Names of the columns that hold a 1."""
    for name, value in values.items():
        if value not in ("0", "1"):
            raise DataError(
                f"{path}: line {line}: expected 0 or 1 in column {name!r}, got {value!r}"
            )
    return tuple(name for name, value in values.items() if value == "1")


def _check_rows(rows: Sequence[LabelRow], path: Path) -> None:
    """Raise if an image is listed twice."""
    lines: dict[str, int] = {}
    for row in rows:
        if not row.image:
            raise DataError(f"{path}: expected the path of an image, got nothing")
        if row.image in lines:
            raise DataError(
                f"{path}: {row.image!r} is listed twice, in lines {lines[row.image]} and "
                f"{row.line}; put all its labels into one line"
            )
        lines[row.image] = row.line


def _check_known(row: LabelRow, names: tuple[str, ...], path: Path) -> None:
    """Raise if a row has a class that is not there, with the nearest that is."""
    for name in row.labels:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
            raise DataError(f"{path}: line {row.line}: unknown class {name!r}; {hint}")
