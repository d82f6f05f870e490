"""Ctrl-C, SIGTERM and SIGHUP: stop where the state is whole."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130  # the exit status that shells give to Ctrl-C
# What ends a run with a checkpoint; SIGHUP comes when a terminal is closed, and not on Windows.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupt:
    """The signals that end a run: a step in progress is finished, an evaluation is left at once."""

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is not threading.main_thread():
            return self  # signals reach the main thread alone, and only it may handle them
        for number in STOPPING:
            if number == getattr(signal, "SIGHUP", None) and _ignored(number):
                continue  # nohup: the run is to outlive its terminal
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if self.at_once:
            raise KeyboardInterrupt
        if again:  # in the middle of a step there is no state worth keeping
            sys.exit(INTERRUPTED)

    @contextmanager
    def leaving_at_once(self) -> Iterator[None]:
        """Raise ``KeyboardInterrupt`` where the code stands: nothing in the block needs saving."""
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False


def ignore_interrupts(worker: int) -> None:
    """Leave to the main process what a terminal sends to all of them: Ctrl-C and its own end."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
