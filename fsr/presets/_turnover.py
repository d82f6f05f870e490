"""From which step on an averaged teacher is sound enough to point at things."""

from __future__ import annotations

from collections.abc import Callable

from fsr._core.checks import check_between, check_positive_int

# A teacher whose weights are still mostly those of step 0 knows nothing worth pointing at: it
# becomes a CAM source once less than exp(-3), 5%, of them is left.
TEACHER_TURNOVER = 3.0


def teacher_source_step(momentum: float | Callable[[int], float], total_steps: int) -> int:
    """Return the first step at which the EMA teacher is sound enough to be a CAM source.

    After ``s`` updates the share of the initial weights left in the teacher is about
    ``exp(-sum(1 - momentum))``; at momentum 0.9995 it is 95% after 100 updates. The teacher counts
    as a source when that sum exceeds 3 (5% left), for a constant momentum ``(1 - m) * s > 3``.

    Args:
        momentum: EMA momentum, a number or a function of the step.
        total_steps: length of the run; also the answer when the teacher never gets there.

    Example:
        >>> teacher_source_step(0.99, total_steps=1000)
        301
        >>> teacher_source_step(0.9995, total_steps=1000)
        1000
    """
    check_positive_int("total_steps", total_steps)
    if not callable(momentum):
        check_between("momentum", momentum, 0.0, 1.0)
    turnover = 0.0
    for step in range(total_steps):
        if turnover > TEACHER_TURNOVER + 1e-9:
            return step
        turnover += 1.0 - (momentum(step) if callable(momentum) else momentum)
    return total_steps
