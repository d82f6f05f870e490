"""The presets of ``fsr.presets`` as the rows of a table; without Sphinx, so tests can run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fsr.presets import (
    PHASES,
    PRESETS,
    CAMSource,
    Preset,
)


def spell(name: str, value: Any) -> str:
    """Spell one value the way a reader expects it."""
    if isinstance(value, CAMSource):
        return value.describe()
    if name in PHASES:
        return f"{100 * value:g}% of the run"
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return "as built" if name == "masking" else "off"
    return str(value)


def preset_rows(presets: Mapping[str, Preset] = PRESETS) -> list[list[str]]:
    """Return the table row by row, the heading first; rows on which all agree come last."""
    names = [field.name for field in fields(Preset) if field.name != "name"]
    rows = [[name, *(spell(name, getattr(p, name)) for p in presets.values())] for name in names]
    differ = [row for row in rows if len(set(row[1:])) > 1]
    agree = [row for row in rows if len(set(row[1:])) == 1]
    return [["setting", *presets], *differ, *agree]
