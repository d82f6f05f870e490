"""Ranges of options: which numbers make sense, and how to say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers that an option takes; never NaN or infinity.

    Args:
        low: smallest number.
        high: largest number.
        above: whether ``low`` itself is too small.
        below: whether ``high`` itself is too large.
        whole: whether only integers are meant.

    Example:
        >>> Range(0, above=True).check("optim.clip_norm", -1.0)
        Traceback (most recent call last):
        ValueError: optim.clip_norm: expected a number in (0.0, inf), got -1.0
        >>> Range(1, whole=True).check("steps", 3)
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise unless a value is a number of the range.

        Raises:
            TypeError: it is no number, or no integer where one is meant.
            ValueError: it is out of the range, NaN or infinite.
        """
        # A tuple, not a union: torch 2.6 cannot compile ``isinstance(value, int | float)``.
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(f"{name}: expected {self}, got {value!r}")
        if not self.holds(value):
            raise ValueError(f"{name}: expected {self}, got {value}")

    def holds(self, value: float) -> bool:
        """Whether a number is in the range."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        high_enough = value > self.low if self.above else value >= self.low
        low_enough = value < self.high if self.below else value <= self.high
        return high_enough and low_enough

    def __str__(self) -> str:
        if self.whole and (self.low, self.high) == (1, math.inf):
            return "a positive integer"
        kind, number = ("an integer", int) if self.whole else ("a number", float)
        low, high = (number(x) if math.isfinite(x) else x for x in (self.low, self.high))
        left = "(" if self.above or not math.isfinite(low) else "["
        right = ")" if self.below or not math.isfinite(high) else "]"
        return f"{kind} in {left}{low}, {high}{right}"


FINITE = Range()
NOT_NEGATIVE = Range(0)
POSITIVE = Range(0, above=True)
SHARE = Range(0, 1)
BELOW_ONE = Range(0, 1, below=True)
COUNT = Range(0, whole=True)
POSITIVE_COUNT = Range(1, whole=True)


def check_numbers(name: str, value: Any, each: Range, count: int | None = None) -> None:
    """Raise unless a value is a sequence of numbers of a range, not empty.

    Args:
        name: what to call it.
        value: the sequence.
        each: range of its numbers.
        count: how many there are; None for any number above 0.

    Raises:
        TypeError: it is no sequence, or something in it no number.
        ValueError: it is empty or of another length, or a number is out of the range.

    Example:
        >>> check_numbers("eval.scales", [], POSITIVE)
        Traceback (most recent call last):
        ValueError: eval.scales: expected at least one number, got []
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name}: expected a list of numbers, got {value!r}")
    if count is not None and len(value) != count:
        raise ValueError(f"{name}: expected {count} numbers, got {list(value)}")
    if not value:
        raise ValueError(f"{name}: expected at least one number, got []")
    for index, number in enumerate(value):
        each.check(f"{name}[{index}]", number)
