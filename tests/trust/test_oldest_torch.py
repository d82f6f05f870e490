"""What the oldest torch that is permitted cannot compile is not in code that may be compiled."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fsr

PACKAGE = Path(fsr.__file__).parent
# Rooms that are never part of a compiled function: they read files, or run whole trainings.
OUTSIDE = {"cli", "data", "inference", "train", "visualize"}
SOURCES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in OUTSIDE
]


def unions(code: str) -> list[int]:
    """Return the lines where ``isinstance`` is asked about ``A | B``."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("isinstance", "issubclass")
        and any(isinstance(part, ast.BinOp) for part in node.args[1:])
    ]


def test_the_scan_finds_a_union_and_takes_a_tuple() -> None:
    assert unions("a = 1\nisinstance(a, int | float)") == [2]
    assert unions("isinstance(a, (int, float))") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_checks_ask_about_tuples_of_types(path: Path) -> None:
    # torch 2.6 ends with "Unexpected type in sourceless builder types.UnionType".
    assert unions(path.read_text(encoding="utf-8")) == []
