"""Checks of whole numbers, which need no torch."""

from __future__ import annotations

from typing import Any


def check_positive_int(name: str, value: Any) -> None:
    """Raise unless ``value`` is an integer of at least 1.

    Example:
        >>> check_positive_int("count", 0)
        Traceback (most recent call last):
            ...
        ValueError: count: expected a positive integer, got 0
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value}")
