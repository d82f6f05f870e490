"""The file of a table of labels: its encoding, what separates its columns, its lines."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsr._core.regular import check_regular
from fsr.data._class_names import IMAGE, LABELS
from fsr.errors import DataError, MissingDataError

DELIMITERS = (",", ";", "\t")
# Longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# How files begin that people take for tables in CSV.
_OTHERS = (
    (b"PK\x03\x04", "it is a spreadsheet (.xlsx, .ods) or an archive"),
    (b"\xd0\xcf\x11\xe0", "it is a spreadsheet (.xls)"),
    (b"\x1f\x8b", "it is compressed by gzip"),
    (b"PAR1", "it is a table in Parquet"),
)
_WAY_OUT = "save it as 'CSV UTF-8' where it was made"
# Records that are lists of their own at a time; what stays is a list per column. More would be
# looked through again and again for what to free.
_AT_ONCE = 256


class Line(NamedTuple):
    """A record of a table.

    Attributes:
        number: line of the file that it begins in, from 1.
        cells: its values without spaces around them.
    """

    number: int
    cells: list[str]


class TableLines(NamedTuple):
    """All that a table holds, its header apart.

    Attributes:
        delimiter: what separates its columns.
        header: its first record that holds anything.
        columns: cells of each column of the header, without spaces around them, of all further
            records that are as long as the header and hold anything.
        numbers: lines that these records begin in, from 1.
        uneven: records of another length that hold anything.
    """

    delimiter: str
    header: Line
    columns: list[list[str]]
    numbers: NDArray[np.int64]
    uneven: list[Line]


def read_lines(path: Path) -> TableLines:
    """Read all lines of a table that hold anything.

    The columns may be separated by commas, semicolons or tabs, and the text may be UTF-8, or any
    Unicode that begins with a byte-order mark, as spreadsheets write it.

    Args:
        path: the file.

    Raises:
        MissingDataError: there is no such file.
        DataError: it holds something else; the message says what, and how to put it right.
    """
    text = _decode(path)
    delimiter, text, skipped = _find_delimiter(text)
    try:
        table = _gather(delimiter, _records(text, delimiter, skipped, _AT_ONCE))
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if table is None:
        raise DataError(f"{path}: expected a table with columns {IMAGE!r}, {LABELS!r}; it is empty")
    return table


def _decode(path: Path) -> str:
    """Return the text of a file."""
    refused = f"{path}: cannot be read as CSV in UTF-8"
    check_regular(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path}: no such table of labels; fsr prepare folder makes one"
        ) from error
    # ValueError: a zero byte in the path.
    except (OSError, ValueError) as error:
        raise DataError(f"{refused} ({error})") from error
    for begin, what in _OTHERS:
        if data.startswith(begin):
            raise DataError(f"{refused}: {what}; {_WAY_OUT}")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise DataError(
            f"{refused}: it holds zero bytes, as UTF-16 without a byte-order mark does; {_WAY_OUT}"
        )
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{refused}: line {line} holds the byte 0x{data[error.start]:02x}, as Latin-1 and "
            f"Windows-1252 write accents ({error.reason}); {_WAY_OUT}, or convert it: "
            "iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _find_delimiter(text: str) -> tuple[str, str, int]:
    """Return what separates columns, the text from its header on, and the lines before it."""
    # Spreadsheets read this line as an instruction and some write it.
    told = re.match(r"\s*sep=(.)\r?\n", text, flags=re.IGNORECASE)
    if told is not None:
        return told[1], text[told.end() :], text.count("\n", 0, told.end())
    for delimiter in DELIMITERS:
        try:
            header = _first_line(_records(text, delimiter, 0, 1))
        except csv.Error:
            continue
        if header is not None and IMAGE in header.cells:
            return delimiter, text, 0
    return ",", text, 0


def _records(
    text: str, delimiter: str, skipped: int, size: int
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield the records of a table, some at a time, after the lines that they begin in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = skipped + 1
    while True:
        begins, records = [], []
        try:
            for cells in itertools.islice(reader, size):
                begins.append(begin)
                records.append(cells)
                begin = skipped + reader.line_num + 1
        except csv.Error as error:
            raise csv.Error(f"line {begin}: {error}") from None
        if not records:
            return
        yield begins, records


def _lines(begins: Iterable[int], records: Iterable[Sequence[str]]) -> Iterator[Line]:
    """Yield the records that hold anything."""
    for begin, cells in zip(begins, records, strict=True):
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield Line(begin, stripped)


def _first_line(found: Iterable[tuple[list[int], list[list[str]]]]) -> Line | None:
    return next((line for begins, records in found for line in _lines(begins, records)), None)


def _gather(
    delimiter: str, found: Iterator[tuple[list[int], list[list[str]]]]
) -> TableLines | None:
    """Put records into columns; None if no record holds anything."""
    header: Line | None = None
    columns: list[list[str]] = []
    numbers = array("q")
    uneven: list[Line] = []
    for begins, records in found:
        if header is None:
            header = _first_line([(begins, records)])
            if header is None:
                continue
            columns = [[] for _ in header.cells]
            start = begins.index(header.number) + 1
            begins, records = begins[start:], records[start:]
        if set(map(len, records)) - {len(columns)}:
            others = [len(cells) != len(columns) for cells in records]
            uneven += _lines(
                itertools.compress(begins, others), itertools.compress(records, others)
            )
            begins = [b for b, other in zip(begins, others, strict=True) if not other]
            records = [r for r, other in zip(records, others, strict=True) if not other]
        stripped = [list(map(str.strip, cells)) for cells in zip(*records, strict=True)]
        if stripped and "" in stripped[0]:
            full = list(map(any, zip(*stripped, strict=True)))
            begins = list(itertools.compress(begins, full))
            stripped = [list(itertools.compress(cells, full)) for cells in stripped]
        for column, cells in zip(columns, stripped, strict=bool(stripped)):
            column += cells
        numbers.extend(begins)
    if header is None:
        return None
    return TableLines(delimiter, header, columns, np.array(numbers, dtype=np.int64), uneven)
