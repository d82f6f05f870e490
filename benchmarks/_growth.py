"""How a cost grows: along what, and the exponent of a power law."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

# Sweep of `scaling.py`: what grows, and how much of it a point has.
SWEEPS: dict[str, tuple[str, Callable[[dict[str, Any]], float]]] = {
    "batch": ("images in a batch", lambda point: point["batch"]),
    "size": ("patches of an image", lambda point: (point["image_size"] // 16) ** 2),
    "classes": ("classes", lambda point: point["classes"]),
    "processes": ("processes, same batch", lambda point: point["processes"]),
}


def completed(scaling: dict[str, Any], sweep: str) -> list[dict[str, Any]]:
    """Return the points of a sweep that did not fail."""
    return [point for point in scaling["sweeps"][sweep]["points"] if "failure" not in point]


def exponent(values: Sequence[float], costs: Sequence[float]) -> float | None:
    """Return the slope of costs over values, both as logarithms, by least squares.

    1 is in proportion, 2 its square, 0 no growth. None for fewer than two values, or where a cost
    is not above 0.

    Example:
        >>> exponent([1, 10, 100], [3, 30, 300])
        1.0
    """
    if len(set(values)) < 2 or min(costs) <= 0:
        return None
    slope, _ = statistics.linear_regression(
        *(list(map(math.log, all_)) for all_ in (values, costs))
    )
    return round(slope, 3)


def exponents(values: Sequence[float], costs: Sequence[float]) -> dict[str, float | None]:
    """Return the exponent over all values, and that of the two largest alone.

    Where a fixed cost hides the growth of small values, the second is what larger ones will have.
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    largest = order[-2:]
    return {
        "all": exponent(values, costs),
        "largest": exponent([values[i] for i in largest], [costs[i] for i in largest]),
    }
