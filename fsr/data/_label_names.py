"""The classes that a table names: in one spelling, known, and told apart."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from fsr.data._class_names import (
    SEPARATOR,
    check_class_names,
    find_alike,
    likeness,
    spell_alike,
)
from fsr.errors import DataError


def own_names(
    path: Path, sets: Sequence[tuple[str, ...]], lines: Sequence[int]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the names in each cell, and all of them, sorted.

    One text in two forms of Unicode is one name.

    Args:
        path: the table, for messages.
        sets: the names in each distinct cell.
        lines: the line in which each comes first, ascending.

    Raises:
        DataError: two names look alike, or one cannot name a class.
    """
    forms: dict[str, set[str]] = {}
    first: dict[str, int] = {}
    for line, names in zip(lines, sets, strict=True):
        for name in names:
            if name not in first:
                forms.setdefault(unicodedata.normalize("NFC", name), set()).add(name)
                first[name] = line
    one = {name: nfc for nfc, found in forms.items() if len(found) > 1 for name in found}
    every = sorted({one.get(name, name) for name in first})
    pair = find_alike(every)
    if pair is not None:
        shown = " and ".join(str(min(first[n] for n in first if one.get(n, n) == p)) for p in pair)
        raise DataError(f"{path}: lines {shown}: {spell_alike(*pair)}")
    renamed = [_renamed(names, one) for names in sets] if one else list(sets)
    return renamed, check_class_names(path, every)


def _renamed(labels: Sequence[str], names: dict[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names.get(label, label) for label in labels))


def known_names(
    path: Path, line: int, names: tuple[str, ...], known: Collection[str] | None
) -> tuple[str, ...]:
    """Return names as the known classes are spelled; raise if one is unknown, with the nearest."""
    if known is None or all(name in known for name in names):
        return names
    forms = {unicodedata.normalize("NFC", name): name for name in known}
    found = []
    for name in names:
        same = name if name in known else forms.get(unicodedata.normalize("NFC", name))
        if same is None:
            raise DataError(f"{place(path, line)}: unknown class {name!a}; {_near(name, known)}")
        found.append(same)
    return tuple(dict.fromkeys(found))


def _near(name: str, known: Collection[str]) -> str:
    """Say which class may be meant."""
    alike = [each for each in known if likeness(each) == likeness(name)]
    near = alike or difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!a}?"
    several = "" if name.isalnum() else f"; classes of one image are separated by {SEPARATOR!r}"
    return f"expected one of {', '.join(known)}{several}"


def place(path: Path, line: int) -> str:
    """Spell where something is; rows that were not read have no line."""
    return f"{path}: line {line}" if line else str(path)
