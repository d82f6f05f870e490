"""Schedules that are constant, switch, rise or fall along a line or a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fsr._core.checks import check_between, check_positive_int
from fsr.schedules._checks import check_count, check_number, check_step, check_warmup

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class constant:
    """The same value at every step.

    Args:
        value: the value.

    Raises:
        TypeError: ``value`` is no number.
        ValueError: ``value`` is NaN or infinite, or the step is negative.

    Example:
        >>> constant(0.5)(1000)
        0.5
    """

    value: float

    def __post_init__(self) -> None:
        check_number("value", self.value)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        return float(self.value)


@dataclass(frozen=True)
class cosine:
    r"""Half a cosine from ``start`` at step 0 to ``end`` at step ``total_steps``.

    .. math:: e + \tfrac12 (s - e) \bigl(1 + \cos(\pi\, t / T)\bigr)

    The last step of a run, ``total_steps - 1``, is just short of ``end``.

    Args:
        start: value at step 0.
        end: value at step ``total_steps`` and after.
        total_steps: length of the half wave in steps.

    Raises:
        TypeError: an argument is no number, or ``total_steps`` no integer.
        ValueError: a number is NaN or infinite, ``total_steps`` < 1, or the step is negative.

    Source:
        The teacher's momentum, section "Implementation Details"; Caron et al., "Emerging
        Properties in Self-Supervised Vision Transformers", ICCV 2021.

    Example:
        >>> momentum = cosine(0.9995, 1.0, total_steps=20_000)
        >>> momentum(0), round(momentum(10_000), 5), momentum(20_000)
        (0.9995, 0.99975, 1.0)
    """

    start: float
    end: float
    total_steps: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_positive_int("total_steps", self.total_steps)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        if step >= self.total_steps:
            return float(self.end)
        wave = 1 + math.cos(math.pi * step / self.total_steps)
        return float(self.end + 0.5 * (self.start - self.end) * wave)


@dataclass(frozen=True)
class linear_warmup:
    """``warmup_steps`` evenly spaced values from ``start`` to ``end``, both included; then ``end``.

    Args:
        start: value at step 0.
        end: value at step ``warmup_steps - 1`` and after.
        warmup_steps: number of values; 0 is ``end`` throughout, 1 is ``start`` once.

    Raises:
        TypeError: an argument is no number, or ``warmup_steps`` no integer.
        ValueError: a number is NaN or infinite, ``warmup_steps`` or the step is negative.

    Source:
        The teacher's temperature in the released code; Caron et al., ICCV 2021.

    Example:
        >>> temperature = linear_warmup(0.04, 0.07, warmup_steps=4)
        >>> [round(temperature(step), 3) for step in range(5)]
        [0.04, 0.05, 0.06, 0.07, 0.07]
    """

    start: float
    end: float
    warmup_steps: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("warmup_steps", self.warmup_steps)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        if step >= self.warmup_steps:
            return float(self.end)
        share = step / max(self.warmup_steps - 1, 1)
        return float(self.start * (1 - share) + self.end * share)


@dataclass(frozen=True)
class switch:
    """``before`` until ``at_step``, then ``after``: the phases of a run.

    Args:
        before: value at steps below ``at_step``.
        after: value from ``at_step`` on.
        at_step: first step of the new value; 0 is ``after`` throughout.

    Raises:
        TypeError: an argument is no number, or ``at_step`` no integer.
        ValueError: a number is NaN or infinite, ``at_step`` or the step is negative.

    Example:
        >>> weight = switch(0.0, 0.1, at_step=2000)
        >>> weight(1999), weight(2000)
        (0.0, 0.1)
    """

    before: float
    after: float
    at_step: int

    def __post_init__(self) -> None:
        check_number("before", self.before)
        check_number("after", self.after)
        check_count("at_step", self.at_step)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        return float(self.before if step < self.at_step else self.after)


@dataclass(frozen=True)
class warmup_cosine:
    r"""Linear warm-up to ``base``, then half a cosine from ``base`` to ``final``: the rate.

    Args:
        base: value at step ``warmup_steps``.
        warmup_steps: steps of the warm-up, less than ``total_steps``; 0 for none.
        total_steps: step at which the value reaches ``final``.
        warmup_ratio: the value at step 0 is ``warmup_ratio * base``; in [0, 1].
        final: value from ``total_steps`` on.

    Raises:
        TypeError: an argument is no number, or a number of steps no integer.
        ValueError: a value is outside its range, or the step is negative.

    Source:
        Section "Implementation Details": warm-up to 6e-5, then cosine.

    Example:
        >>> rate = warmup_cosine(6e-5, warmup_steps=1500, total_steps=20_000, warmup_ratio=0.1)
        >>> [f"{rate(step):.1e}" for step in (0, 750, 1500, 20_000)]
        ['6.0e-06', '3.3e-05', '6.0e-05', '0.0e+00']
    """

    base: float
    warmup_steps: int
    total_steps: int
    warmup_ratio: float = 0.1
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number("base", self.base)
        check_number("final", self.final)
        check_warmup(self.warmup_steps, self.total_steps, self.warmup_ratio)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        if step < self.warmup_steps:
            left = 1 - step / self.warmup_steps
            return float(self.base * (1 - left * (1 - self.warmup_ratio)))
        decay = cosine(self.base, self.final, self.total_steps - self.warmup_steps)
        return decay(step - self.warmup_steps)


def run_momentum(total_steps: int, memories: float = 20.0) -> float:
    """Momentum exp(-M / T), which forgets as often in a short run as in a long one.

    Args:
        total_steps: length T of the run in steps.
        memories: M > 0: what an average was at a step is down to 1/e of it after T / M steps.

    Raises:
        TypeError, ValueError: ``total_steps`` is no positive integer, or ``memories`` not above 0.

    Source:
        Not in the paper, whose momentum is that of a run of 20,000 steps and rises to 1.

    Example:
        >>> round(run_momentum(400), 4), round(run_momentum(20_000), 4)
        (0.9512, 0.999)
    """
    check_positive_int("total_steps", total_steps)
    check_between("memories", memories, 0.0, math.inf, inclusive=False)
    return math.exp(-memories / total_steps)
