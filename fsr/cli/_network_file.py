"""What a network file holds, told without building the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fsr.segmenter import read_checkpoint

# Arguments of the constructor that have rows of their own or say where training began.
_TOLD = ("num_classes", "backbone", "image_size", "pretrained")


def network_lines(path: Path) -> list[str]:
    """Describe a network file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file was not saved by :meth:`fsr.SingleStageSegmenter.save`, or is damaged.
    """
    header, state = read_checkpoint(path)
    arguments = header["arguments"]
    count = arguments["num_classes"]
    names = header.get("class_names") or []
    types = sorted({str(value.dtype).removeprefix("torch.") for value in state.values()})
    values = sum(value.numel() for value in state.values())
    rows = [
        ("classes", f"{count}: {', '.join(names)}" if names else f"{count}, without names"),
        ("encoder", _spell(arguments.get("backbone"))),
        ("image size", _spell(arguments.get("image_size"))),
        ("parameters", f"{values:,} ({', '.join(types)})"),
        ("saved by", f"fsr-wsss {header.get('version')}"),
    ]
    others = {name: value for name, value in arguments.items() if name not in _TOLD}
    rows += [(name, _spell(value)) for name, value in others.items() if value is not None]
    return [str(path), *_columns(rows)]


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line per row, the values below each other."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 2
    return [f"  {name:{width}}{value}" for name, value in rows]


def _spell(value: Any) -> str:
    """Spell an argument of the constructor as a reader would.

    Example:
        >>> _spell({"patch_size": 8, "depth": 3}), _spell([448, 448]), _spell("largefov")
        ('patch_size=8, depth=3', '448 x 448', 'largefov')
    """
    if isinstance(value, Mapping):
        if set(value) == {"module"}:
            return f"{value['module']}, built by the caller"
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return " x ".join(map(str, value))
    return str(value)
