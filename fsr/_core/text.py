"""Text files that people and other programs wrote, read with errors that name the file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsr._core.regular import check_regular
from fsr.errors import DataError, MissingDataError

# Editors on Windows put a mark before the text that tells its encoding.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(path: Path) -> str:
    r"""Read a text file in UTF-8, or in the encoding that its byte-order mark tells.

    Args:
        path: the file.

    Returns:
        Its text without a byte-order mark; lines end in ``\n``, whatever ended them.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no file, such as a folder or a pipe, or no such text.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "list.txt"
        >>> _ = path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
        >>> read_text(path)
        'one\ntwo\n'
    """
    content = _read_bytes(path)
    mark, encoding = next((pair for pair in _MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected text in UTF-8; save it in that encoding ({error})"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Read a file in JSON; a byte-order mark before it is read over.

    Args:
        path: the file.
        change: gets every object as soon as it is read, the inner ones first, and gives what stands
            in its place, so that large files need not be held as they are.

    Returns:
        What it holds, of whatever type.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no JSON, is cut off, or is nested too deeply.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> _ = path.write_text('{"images": [')
        >>> read_json(path)
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: .../a.json: cannot be read as JSON (Expecting value: line 1 ...
    """
    text = read_text(path)
    try:
        return json.loads(text, object_hook=change)
    except RecursionError as error:
        raise DataError(f"{path}: cannot be read as JSON (it is nested too deeply)") from error
    # Numbers of thousands of digits are a ValueError too.
    except ValueError as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}); the file is damaged or cut off"
        ) from error


def _read_bytes(path: Path) -> bytes:
    """Read a file that is one: opening a pipe would wait for its other end."""
    check_regular(path)
    try:
        if not path.is_file():
            if path.exists():
                raise DataError(f"{path}: expected a file, this is none")
            raise MissingDataError(f"{path}: no such file")
        return path.read_bytes()
    except DataError:
        raise
    # ValueError: a zero byte in the path.
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
