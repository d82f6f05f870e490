"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is unfinished is taken away first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in the block for SIGTERM, as of `kill`, and for SIGHUP.

    A signal that is ignored stays so, as SIGHUP under `nohup`. Processes that this one forks die of
    these signals as before.

    Example:
        >>> try:
        ...     with ended_by_signals():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except KeyboardInterrupt:
        ...     print("taken away")
        taken away
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    owner = os.getpid()

    def receive(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    there = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    free = [number for number in there if signal.getsignal(number) is signal.SIG_DFL]
    for number in free:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)
