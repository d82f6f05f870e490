"""Tables of image-level labels as CSV: read with every row checked, written in two forms."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fsr._core.checks import check_choice
from fsr._core.files import whole_file
from fsr.data._class_names import IMAGE, LABELS, SEPARATOR, check_class_names, is_text
from fsr.errors import DataError, MissingDataError

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


def read_labels(path: str | Path, *, class_names: Sequence[str] | None = None) -> LabelTable:
    """Read a table of image-level labels and check every row.

    Args:
        path: CSV in UTF-8 with a column ``image`` and either a column ``labels`` (names separated
            by semicolons) or a column of 0 and 1 per class.
        class_names: names that the table may use, in order; by default its columns in their order,
            or the names in the column ``labels``, sorted. An image has none of the classes that the
            table does not mention.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such table; the message has the line and the way out.
    """
    path = Path(path).expanduser()
    lines = _read_lines(path)
    line, header = lines[0]
    is_list = _check_header(path, line, header)
    columns = [name for name in header if name != IMAGE]
    known = None if class_names is None else check_class_names("class_names", class_names)
    if not is_list:
        _check_known(path, line, check_class_names(path, columns), known)
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}: line {line}: expected {len(header)} values, got {len(cells)}; put a "
                "value that holds a comma into quotes"
            )
        values = dict(zip(header, cells, strict=True))
        image = values.pop(IMAGE)
        names = _split(values[LABELS]) if is_list else _chosen(values, path, line)
        _check_known(path, line, names, known)
        rows.append(LabelRow(image, names, line))
    if not rows:
        raise DataError(f"{path}: expected one line per image, got none")
    _check_rows(rows, path)
    if known is None:
        used = {name for row in rows for name in row.labels}
        known = check_class_names(path, sorted(used) if is_list else columns)
    return LabelTable(known, tuple(rows))


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
    _check_rows(rows, path)
    for row in rows:
        _check_writable(row, path)
        _check_known(path, row.line, row.labels, names)
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([IMAGE, *(names if form == "onehot" else (LABELS,))])
        for row in rows:
            flags = [str(int(name in row.labels)) for name in names]
            writer.writerow([row.image, *(flags if form == "onehot" else _joined(row, names))])


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Read all lines that hold anything, with their numbers."""
    try:
        # A byte-order mark, as spreadsheets write it, would become part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_numbered(csv.reader(file, strict=True)))
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path}: no such table of labels; fsr prepare folder makes one"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if not lines:
        raise DataError(f"{path}: expected a table with columns {IMAGE!r}, {LABELS!r}; it is empty")
    return lines


def _check_header(path: Path, line: int, header: Sequence[str]) -> bool:
    """Return whether labels are lists of names; raise if the columns are none of a table."""
    expected = f"{path}: line {line}: expected a column {IMAGE!r}"
    got = f"got {', '.join(map(repr, header))}"
    if IMAGE not in header:
        wrong = next((mark for mark in ";\t" if mark in header[0]), None)
        hint = f"; separate columns by commas, not by {wrong!r}" if wrong else ""
        raise DataError(f"{expected} and a column {LABELS!r} or one column per class, {got}{hint}")
    columns = [name for name in header if name != IMAGE]
    if len(columns) != len(header) - 1:
        raise DataError(f"{path}: line {line}: expected one column {IMAGE!r}, {got}")
    if not columns or (LABELS in columns and columns != [LABELS]):
        raise DataError(f"{expected} and either a column {LABELS!r} or one column per class, {got}")
    return columns == [LABELS]


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped  # type: ignore[attr-defined]


def _split(text: str) -> tuple[str, ...]:
    """Names in a cell, each once."""
    names = (name.strip() for name in text.split(SEPARATOR))
    return tuple(dict.fromkeys(name for name in names if name))


def _joined(row: LabelRow, names: Sequence[str]) -> tuple[str]:
    return (SEPARATOR.join(name for name in names if name in row.labels),)


def _chosen(values: dict[str, str], path: Path, line: int) -> tuple[str, ...]:
    """Names of the columns that hold a 1."""
    for name, value in values.items():
        if value not in ("0", "1"):
            raise DataError(
                f"{path}: line {line}: expected 0 or 1 in column {name!r}, got {value!r}"
            )
    return tuple(name for name, value in values.items() if value == "1")


def _check_rows(rows: Sequence[LabelRow], path: Path) -> None:
    """Raise if an image is listed twice or has no name."""
    lines: dict[str, int] = {}
    for row in rows:
        if not row.image:
            raise DataError(f"{_place(path, row.line)}: expected the path of an image, got nothing")
        if row.image in lines:
            where = f" in line {lines[row.image]}" if row.line else ""
            raise DataError(
                f"{_place(path, row.line)}: {row.image!r} is listed{where} already; put all its "
                "labels into one line"
            )
        lines[row.image] = row.line


def _check_writable(row: LabelRow, path: Path) -> None:
    """Raise if the path of an image would not be read back as it is."""
    if not is_text(row.image):
        raise DataError(
            f"{path}: the file name {row.image!r} cannot be written: expected UTF-8 text without "
            "spaces around it; rename the file"
        )


def _check_known(
    path: Path, line: int, names: Sequence[str], known: tuple[str, ...] | None
) -> None:
    """Raise if there is a class that is not known, with the nearest that is."""
    if known is None:
        return
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
            raise DataError(f"{_place(path, line)}: unknown class {name!r}; {hint}")


def _place(path: Path, line: int) -> str:
    """Spell where something is; rows that were not read have no line."""
    return f"{path}: line {line}" if line else str(path)
