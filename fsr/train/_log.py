"""The log of a run under way: one JSON record a line, whole after a kill."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from fsr._core.records import read_log, to_json, write_atomically

# Why the last process ended before the run did; whoever goes on leaves it behind.
ENDED = "ended"


class JsonLog:
    """A log of one JSON record a line, each flushed; records after a resumed step are dropped.

    Args:
        path: the file; its folder is made.
        step: completed step from which the run goes on; records after it are dropped, and so is a
            last line that a kill left unfinished, and why the run had ended.
    """

    def __init__(self, path: Path, *, step: int = 0) -> None:
        self.path = path
        kept = [
            record
            for record in read_log(path)
            if record["step"] <= step and record["kind"] != ENDED
        ]
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
