"""A field of the options: its default, and a line on what it means that the help shows."""

from __future__ import annotations

import dataclasses
from typing import Any

MEANING = "meaning"


def option(default: Any, meaning: str) -> Any:
    """Return a dataclass field with a default and a line on what it means."""
    told = {MEANING: meaning}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata=told)
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=told)
    return dataclasses.field(default=default, metadata=told)
