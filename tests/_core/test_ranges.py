"""Ranges of options: what they hold, and what they say."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fsr._core.ranges import (
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SHARE,
    Range,
    check_numbers,
)


@pytest.mark.parametrize(
    ("known", "held", "refused"),
    [
        (FINITE, (-1e300, 0, 5), (math.nan, math.inf, -math.inf)),
        (NOT_NEGATIVE, (0, 0.0, 1e300), (-1e-300, math.nan, math.inf)),
        (POSITIVE, (1e-300, 7), (0, 0.0, -1, math.nan, math.inf)),
        (SHARE, (0, 0.5, 1), (-0.1, 1.1, math.nan)),
        (Range(0, 1, above=True, below=True), (0.5,), (0, 1, 0.0, 1.0)),
    ],
)
def test_a_range_holds_what_it_says(
    known: Range, held: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    for value in held:
        known.check("x", value)
    for value in refused:
        with pytest.raises(ValueError, match="x: expected"):
            known.check("x", value)


@pytest.mark.parametrize("value", [True, "1", None, [1.0]])
@pytest.mark.parametrize("known", [SHARE, COUNT])
def test_what_is_no_number_is_refused_as_such(known: Range, value: Any) -> None:
    with pytest.raises(TypeError, match="x: expected"):
        known.check("x", value)


def test_integers_are_not_written_with_a_point() -> None:
    with pytest.raises(TypeError, match=r"x: expected an integer in \[0, inf\), got 1.0"):
        COUNT.check("x", 1.0)
    with pytest.raises(ValueError, match="x: expected a positive integer, got 0"):
        POSITIVE_COUNT.check("x", 0)


def test_lists_have_their_length_and_range() -> None:
    check_numbers("x", (1.0, 2), POSITIVE, 2)
    with pytest.raises(ValueError, match=r"x: expected 2 numbers, got \[1.0\]"):
        check_numbers("x", [1.0], POSITIVE, 2)
    with pytest.raises(ValueError, match=r"x\[1\]: expected a number in \(0.0, inf\), got nan"):
        check_numbers("x", [1.0, math.nan], POSITIVE)
    with pytest.raises(TypeError, match="x: expected a list of numbers, got '12'"):
        check_numbers("x", "12", POSITIVE)
