"""Progress of a long loop: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import importlib
import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import Any


class Progress:
    """Tells how far a loop is and how long it will take, on stderr.

    Args:
        total: number of items.
        what: what they are.
        shown: False for the silent ones of several processes.
        every: seconds between plain lines.
    """

    def __init__(
        self, total: int, what: str = "images", *, shown: bool = True, every: float = 10.0
    ) -> None:
        self.total = total
        self.what = what
        self.shown = shown
        self.every = every
        self.done = 0
        self.start = self.told = time.monotonic()
        self.bar: Any = None
        # The bar's package is an optional one.
        if shown and sys.stderr.isatty() and find_spec("tqdm"):
            tqdm = importlib.import_module("tqdm").tqdm
            self.bar = tqdm(total=total, unit=f" {what}", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self) -> None:
        """Count one more item."""
        self.set(self.done + 1, self.total)

    def set(self, done: int, total: int) -> None:
        """Tell how many items are done, of how many."""
        if self.bar is not None:
            self.bar.total = total
            self.bar.update(done - self.done)
        self.done, self.total = done, total
        if not self.shown or self.bar is not None or not done:
            return
        now = time.monotonic()
        if now - self.told < self.every and done < total:
            return
        self.told = now
        left = (now - self.start) / done * (total - done)
        print(f"{done}/{total} {self.what}, {_spell(left)} left", file=sys.stderr)


def _spell(seconds: float) -> str:
    """Spell a time.

    Example:
        >>> _spell(3723.4), _spell(123.0), _spell(2.6)
        ('1:02:03', '2:03', '3 s')
    """
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole} s"
