"""The file of a table of labels: its encoding, what separates its columns, its lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


class Line(NamedTuple):
    """A record of a table.

    Attributes:
        number: line of the file that it begins in, from 1.
        cells: its values without spaces around them.
    """

    number: int
    cells: list[str]


class TableLines(NamedTuple):
    """All that a table holds.

    Attributes:
        delimiter: what separates its columns.
        lines: its records that hold anything, the header first.
    """

    delimiter: str
    lines: list[Line]


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
        lines = list(_records(text, delimiter, skipped))
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if not lines:
        raise DataError(f"{path}: expected a table with columns {IMAGE!r}, {LABELS!r}; it is empty")
    return TableLines(delimiter, lines)


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
            header = next(_records(text, delimiter, 0), None)
        except csv.Error:
            continue
        if header is not None and IMAGE in header.cells:
            return delimiter, text, 0
    return ",", text, 0


def _records(text: str, delimiter: str, skipped: int) -> Iterator[Line]:
    """Yield the records that hold anything, numbered by the line that they begin in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = skipped + 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield Line(number, stripped)
            number = skipped + reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {number}: {error}") from None
