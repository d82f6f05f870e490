"""Numbers as a reader sees them: thinned, smoothed, spelled, and the ticks of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeGuard

MOST = 300  # points of a curve


def known(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number.

    Example:
        >>> known(0.5), known(None), known(float("nan")), known(True)
        (True, False, False, False)
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def thin(
    xs: Sequence[float], ys: Sequence[float], most: int = MOST
) -> tuple[list[float], list[float]]:
    """Return at most so many points, each the mean of those that it stands for.

    Args:
        xs: places of the points, rising.
        ys: their values.
        most: points to return.

    Example:
        >>> thin([1, 2, 3, 4], [0.0, 2.0, 4.0, 6.0], most=2)
        ([1.5, 3.5], [1.0, 5.0])
    """
    count = len(xs)
    if count <= most:
        return list(xs), list(ys)
    edges = [round(part * count / most) for part in range(most + 1)]
    spans = list(pairwise(edges))
    return (
        [sum(xs[a:b]) / (b - a) for a, b in spans],
        [sum(ys[a:b]) / (b - a) for a, b in spans],
    )


def smooth(ys: Sequence[float], width: int) -> list[float]:
    """Return the mean over each point and so many on either side, fewer at the ends.

    Example:
        >>> smooth([0.0, 3.0, 6.0, 3.0], 1)
        [1.5, 3.0, 4.0, 4.5]
    """
    sums = [0.0]
    for value in ys:
        sums.append(sums[-1] + value)
    means = []
    for place in range(len(ys)):
        low, high = max(0, place - width), min(len(ys), place + width + 1)
        means.append((sums[high] - sums[low]) / (high - low))
    return means


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two, about so many.

    Example:
        >>> ticks(0.0, 1.0), ticks(0, 400)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 100.0, 200.0, 300.0, 400.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.999 * rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def spell(value: Any) -> str:
    """Spell a number in a few digits, a dash where there is none.

    Example:
        >>> spell(0.123456), spell(6e-05), spell(20000), spell(None)
        ('0.1235', '6e-05', '20000', '-')
    """
    if not known(value):
        return "-"
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:.0f}" if abs(value) < 1e7 else f"{value:.3g}"
    return f"{value:.4g}"


def percent(value: Any) -> str:
    """Spell a share in per cent, a dash where there is none.

    Example:
        >>> percent(0.4567), percent(None)
        ('45.7', '-')
    """
    return f"{100 * value:.1f}" if known(value) else "-"


def duration(seconds: Any) -> str:
    """Spell a time.

    Example:
        >>> duration(3723.4), duration(123.0), duration(2.61)
        ('1 h 2 min', '2 min 3 s', '2.6 s')
    """
    if not known(seconds):
        return "-"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole // 60 % 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"


def value_of(value: Any) -> str:
    """Spell the value of an option as it is written on the command line.

    Example:
        >>> value_of(None), value_of([1.0, 0.5]), value_of({"patch_size": 8}), value_of(True)
        ('null', '[1.0, 0.5]', '{patch_size: 8}', 'true')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_of, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_of(item)}" for key, item in value.items()) + "}"
    return str(value)
