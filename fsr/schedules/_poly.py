"""Schedules that fall as a power of the steps left: the learning rates of other methods."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsr._core.checks import check_positive_int
from fsr.schedules._checks import check_number, check_power, check_step, check_warmup


@dataclass(frozen=True)
class warmup_poly:
    r"""Linear warm-up, then a polynomial from ``base`` to 0, counted from step 0 of the run.

    .. math:: b\,\bigl(1 - (1 - t / w)(1 - r)\bigr) \text{ for } t < w, \qquad
              b\,(1 - t / T)^p \text{ from } w \text{ on}

    The polynomial is not shifted by the warm-up, so the rate drops a little where the two join, as
    in the released code. From ``total_steps`` on it is 0, where the released optimisers without a
    warm-up would repeat their last rate.

    Args:
        base: b, value that the warm-up leads to.
        warmup_steps: w, steps of the warm-up, less than ``total_steps``; 0 for none.
        total_steps: T, step at which the value reaches 0.
        warmup_ratio: r, the value at step 0 is ``warmup_ratio * base``; in [0, 1].
        power: p, above 0.

    Raises:
        TypeError: an argument is no number, or a number of steps no integer.
        ValueError: a value is outside its range, or the step is negative.

    Source:
        Ru et al., CVPR 2022 and 2023: the learning rate of AFA (power 1) and of ToCo (0.9)
        (rulixiang/afa@adcfa29, rulixiang/ToCo@e13514d).

    Example:
        >>> rate = warmup_poly(6e-5, warmup_steps=1500, total_steps=20_000)
        >>> [f"{rate(step):.1e}" for step in (0, 750, 1499, 1500, 20_000)]
        ['6.0e-11', '3.0e-05', '6.0e-05', '5.6e-05', '0.0e+00']
    """

    base: float
    warmup_steps: int = field(kw_only=True)
    total_steps: int = field(kw_only=True)
    warmup_ratio: float = field(default=1e-6, kw_only=True)
    power: float = field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        check_number("base", self.base)
        check_warmup(self.warmup_steps, self.total_steps, self.warmup_ratio)
        check_power(self.power)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        if step < self.warmup_steps:
            left = 1 - step / self.warmup_steps
            return float(self.base * (1 - left * (1 - self.warmup_ratio)))
        return float(self.base * _left(step, self.total_steps) ** self.power)


@dataclass(frozen=True)
class two_poly:
    r"""A polynomial from ``first`` to 0 up to ``at_step``, then another from ``second`` to 0.

    .. math:: f\,(1 - t / s)^p \text{ for } t < s, \qquad
              g\,\Bigl(1 - \frac{t - s}{T - s}\Bigr)^p \text{ from } s \text{ on}

    Args:
        first: f, value at step 0.
        second: g, value at step ``at_step``.
        at_step: s, step at which the second polynomial starts, from 1 to below ``total_steps``.
        total_steps: T, step at which the value stays 0.
        power: p, above 0.

    Raises:
        TypeError: an argument is no number, or a number of steps no integer.
        ValueError: a value is outside its range, or the step is negative.

    Source:
        The two learning rates of Zhang et al., "Reliability Does Matter", AAAI 2020
        (zbf1991/RRM@6d4191c): one for the classification, one for the joint training.

    Example:
        >>> rate = two_poly(0.1, 0.0007, at_step=10, total_steps=20)
        >>> [f"{rate(step):.5f}" for step in (0, 5, 10, 15, 20)]
        ['0.10000', '0.05359', '0.00070', '0.00038', '0.00000']
    """

    first: float
    second: float
    at_step: int = field(kw_only=True)
    total_steps: int = field(kw_only=True)
    power: float = field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        check_number("first", self.first)
        check_number("second", self.second)
        check_positive_int("at_step", self.at_step)
        check_positive_int("total_steps", self.total_steps)
        if self.at_step >= self.total_steps:
            raise ValueError(
                f"at_step: expected less than total_steps={self.total_steps}, got {self.at_step}"
            )
        check_power(self.power)

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, counted from 0."""
        check_step(step)
        if step < self.at_step:
            return float(self.first * _left(step, self.at_step) ** self.power)
        left = _left(step - self.at_step, self.total_steps - self.at_step)
        return float(self.second * left**self.power)


def _left(step: int, total_steps: int) -> float:
    """Return the share of the steps that is left, 0 past the end."""
    return max(0.0, 1 - step / total_steps)
