"""Files of plain data that a run leaves: logs of a record a line, and strict JSON, whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
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
    """Return strict JSON: numbers that JSON has no word for become null.

    Example:
        >>> to_json({"score": float("nan"), 3: (1, 2)})
        '{"score": null, "3": [1, 2]}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def read_log(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log up to the first line that is not whole; none if no file."""
    path = Path(path)
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            return
        yield record


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
