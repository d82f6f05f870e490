"""The time that a run may take: what may still start, and how long to wait for an answer."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from _children import Patience

# Seconds that are kept to end in.
ENDING = 10.0
NOT_RUN = {"failure": "not run: out of time"}


class Limits(NamedTuple):
    """Seconds that one answer may take, and that must be left for a row to start at all."""

    patience: float
    start: float


USUAL, COMPILING = Limits(90.0, 25.0), Limits(150.0, 60.0)


class Budget:
    """The time of a run, from now on.

    Args:
        minutes: how long it may take.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.begun = time.monotonic()

    def spent(self) -> float:
        """Return the seconds so far."""
        return time.monotonic() - self.begun

    def patience(self, limits: Limits = USUAL) -> Patience:
        """Return how long to wait for an answer, as `_children.Variant` wants it."""
        return lambda: min(limits.patience, self._left())

    def room(self, limits: Limits = USUAL, keep: float = 0.0) -> bool:
        """Tell whether a row may start, a share of the whole time left aside."""
        return self._left() - keep * self.seconds >= limits.start

    def late(
        self, rows: dict[str, Any], name: str, limits: Limits = USUAL, keep: float = 0.0
    ) -> bool:
        """Note in the rows that one is not run if too little time is left for it."""
        late = not self.room(limits, keep)
        if late:
            rows[name] = NOT_RUN
        return late

    def _left(self) -> float:
        return self.seconds - ENDING - self.spent()
