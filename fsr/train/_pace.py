"""How fast a run is, and how long it will take."""

from __future__ import annotations

from collections import deque

from fsr.train._options import Config

# Steps that the rate is the mean of: phases of a run differ in speed, so old steps say little.
RECENT = 50


class Pace:
    """Seconds a step of the recent steps, and what is left at that rate, evaluations included.

    The first step is left out: it waits for workers to start, for files and for compilers.

    Args:
        config: options of the run, for its length and how often it is evaluated.

    Example:
        >>> pace = Pace(Config(steps=10))
        >>> for seconds in (30.0, 1.0, 3.0):
        ...     pace.stepped(seconds)
        >>> pace.seconds_each(), pace.seconds_left(3)
        (2.0, 14.0)
    """

    def __init__(self, config: Config) -> None:
        self._total, self._every = config.steps, config.eval.every
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._first: float | None = None
        self._network = 0.0

    def stepped(self, seconds: float) -> None:
        """Count a completed step."""
        if self._first is None:
            self._first = seconds
        else:
            self._recent.append(seconds)

    def evaluated(self, seconds: float, networks: int) -> None:
        """Count an evaluation of so many networks."""
        self._network = seconds / networks

    def seconds_each(self) -> float:
        """Return the seconds of a step; of the first one while there is no other."""
        if self._recent:
            return sum(self._recent) / len(self._recent)
        return self._first or 0.0

    def seconds_left(self, step: int) -> float:
        """Return the seconds to the end of the run after so many completed steps."""
        if step >= self._total:
            steps, looks = 0, 1  # the last evaluation follows the last step
        else:
            steps = self._total - step
            # The evaluation of this very step, if one is due, has yet to come too.
            looks = self._total // self._every - (step - 1) // self._every
            looks += bool(self._total % self._every)
        return steps * self.seconds_each() + 2 * looks * self._network
