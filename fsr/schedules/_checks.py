"""What schedules are checked for: their numbers, and the step that they are asked for."""

from __future__ import annotations

import math

from fsr._core.checks import check_between, check_positive_int


def check_number(name: str, value: float) -> None:
    """Raise unless the value is a finite number."""
    check_between(name, value, -math.inf, math.inf, inclusive=False)


def check_count(name: str, value: int) -> None:
    """Raise unless the value is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer of at least 0, got {value!r}")
    check_between(name, value, 0, math.inf)


def check_warmup(warmup_steps: int, total_steps: int, warmup_ratio: float) -> None:
    """Raise unless the warm-up starts at a share of the value and ends before the run does."""
    check_count("warmup_steps", warmup_steps)
    check_positive_int("total_steps", total_steps)
    if warmup_steps >= total_steps:
        raise ValueError(
            f"warmup_steps: expected less than total_steps={total_steps}, got {warmup_steps}"
        )
    check_between("warmup_ratio", warmup_ratio, 0.0, 1.0)


def check_power(power: float) -> None:
    """Raise unless the power of a polynomial is a finite number above 0."""
    check_between("power", power, 0.0, math.inf, inclusive=False)


def check_step(step: int) -> None:
    """Raise unless the step is a number of at least 0."""
    check_between("step", step, 0, math.inf)
