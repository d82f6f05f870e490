"""Several training processes: one that stops or is killed does not hold the others for long.

Each process has a thread that tells the others that it lives. A process that computes, reads or
writes for an hour goes on telling; one that is stopped, or whose machine is gone, does not, and
then the others end. That is why no collective needs a short timeout, which a long evaluation of one
process would break.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch.distributed as dist

from fsr.errors import ResourceError

GOES_ON = "--resume goes on from the last checkpoint"
# Times that a process tells within the timeout.
BEATS = 20
DONE = "done"
# What the libraries under torch say when a peer is gone.
GONE = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|store|timed out", re.IGNORECASE
)


class Store(Protocol):
    """Where processes leave words for each other."""

    def set(self, key: str, value: str) -> None:
        """Leave a word."""

    def check(self, keys: list[str]) -> bool:
        """Whether there are words under all of the keys."""

    def get(self, key: str) -> bytes:
        """Read a word."""


class Peers:
    """Tells the other processes that this one lives, and ends it when one of them does not.

    Time is counted in beats of this process's own, so that a pause of all of them, Ctrl-Z or a
    laptop that sleeps, ends nothing.

    Args:
        store: where the processes leave words.
        rank: number of this process.
        processes: how many there are.
        timeout: seconds after which a silent one counts as lost.
        lost: called with one line when one is.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        processes: int,
        timeout: float,
        lost: Callable[[str], None],
    ) -> None:
        self._store, self._rank, self._timeout, self._lost = store, rank, timeout, lost
        self._others = [other for other in range(processes) if other != rank]
        self._heard: dict[int, str] = {}
        self._ended = threading.Event()
        # Two threads: where the store itself is held up, the second still counts.
        self._threads = [
            threading.Thread(target=work, name="fsr-peers", daemon=True)
            for work in (self._tell, self._watch)
        ]

    def __enter__(self) -> Peers:
        self._store.set(self._key(self._rank), "")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=self._timeout / BEATS + 1)
        if kind is not None:
            return  # the others are not to wait for it
        try:
            self._store.set(self._key(self._rank), DONE)
        except RuntimeError:  # the process that keeps the words has ended
            return

    def _tell(self) -> None:
        """Leave a word and read those of the others, over and over."""
        count = 0
        while True:
            try:
                self._store.set(self._key(self._rank), str(count))
                for other in self._others:
                    if self._store.check([self._key(other)]):
                        self._heard[other] = self._store.get(self._key(other)).decode()
            except RuntimeError:
                pass  # nobody is heard; whoever keeps the words may come back
            count += 1
            if self._ended.wait(self._timeout / BEATS):
                return

    def _watch(self) -> None:
        """Count the beats since each other process was heard."""
        before: dict[int, str] = {}
        silent = dict.fromkeys(self._others, 0)
        while not self._ended.wait(self._timeout / BEATS):
            for other in self._others:
                word = self._heard.get(other, "")
                same = word == before.get(other, "") and word != DONE
                silent[other] = silent[other] + 1 if same else 0
                before[other] = word
            lost = [other for other, beats in silent.items() if beats >= BEATS]
            if lost:
                self._lost(lost_line(lost, len(self._others) + 1, self._timeout))
                return

    def _key(self, rank: int) -> str:
        return f"fsr/lives/{rank}"


def lost_line(lost: list[int], processes: int, timeout: float) -> str:
    """Say which processes do not answer, and what there is to do.

    Example:
        >>> lost_line([1], 2, 120.0)
        'training process 1 of 0 to 1 has not answered for 120 s (run.timeout): stopped; \
--resume goes on from the last checkpoint'
    """
    which = ", ".join(map(str, lost))
    many = "processes" if len(lost) > 1 else "process"
    have = "have" if len(lost) > 1 else "has"
    return (
        f"training {many} {which} of 0 to {processes - 1} {have} not answered for {timeout:g} s "
        f"(run.timeout): stopped; {GOES_ON}"
    )


@contextmanager
def joined(accelerator: Any, timeout: float) -> Iterator[None]:
    """Watch the other processes of a run; a collective that fails for one ends in one line.

    Args:
        accelerator: how the processes are joined.
        timeout: seconds after which a silent one counts as lost.

    Raises:
        ResourceError: another process has ended.
    """
    processes = accelerator.num_processes
    if processes == 1:
        yield
        return
    store = dist.distributed_c10d._get_default_store()
    try:
        with Peers(store, accelerator.process_index, processes, timeout, _end):
            yield
    except RuntimeError as error:
        text = str(error).strip().partition("\n")[0]
        if isinstance(error, ValueError) or not GONE.search(text):
            raise
        raise ResourceError(
            f"another of the {processes} training processes has ended ({text}); {GOES_ON}"
        ) from error


def _end(line: str) -> None:
    """End this process: its main thread waits in a collective, where no exception reaches it."""
    sys.stderr.write(f"fsr train: error: {line}\n")
    sys.stderr.flush()
    os._exit(1)
