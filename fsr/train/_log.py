"""The log of a run: one JSON record a line, whole after a kill; and strict JSON files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsr._core.files import whole_file


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a kill, sees the old or the new one whole."""
    with whole_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return strict JSON: numbers that JSON has no word for become null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class JsonLog:
    """A log of one JSON record a line, each flushed; records after a resumed step are dropped.

    Args:
        path: the file; its folder is made.
        step: completed step from which the run goes on; records after it are dropped, and so is a
            last line that a kill left unfinished.
    """

    def __init__(self, path: Path, *, step: int = 0) -> None:
        self.path = path
        kept = [record for record in read_log(path) if record["step"] <= step]
        write_atomically(path, "".join(to_json(record) + "\n" for record in kept))
        self._kept = kept
        self._file = path.open("a", encoding="utf-8")

    def kept(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind that were there before."""
        return [record for record in self._kept if record["kind"] == kind]

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append a record."""
        self._file.write(to_json({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a full disk was told of when the record was written
            self._file.close()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log up to the first line that is not whole; none if no file."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            return
        yield record
