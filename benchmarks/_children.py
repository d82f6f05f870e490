"""Variants in processes of their own that take turns, so that all share the machine's minutes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _machine import peak_bytes

Tell = Callable[..., None]
Ask = Callable[[], str]


class Serving(NamedTuple):
    """What a child process talks through.

    Attributes:
        tell: sends one answer, its values by name.
        ask: waits for a request: "step", "more", or "" for the end.
    """

    tell: Tell
    ask: Ask


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def start_serving(threads: int, precision: str) -> Serving:
    """Set a child process up; what it prints from now on goes to standard error."""
    torch.set_num_threads(threads)
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    channel = sys.stdout
    sys.stdout = sys.stderr

    def tell(**values: Any) -> None:
        print(json.dumps(values), file=channel, flush=True)

    return Serving(tell, lambda: sys.stdin.readline().strip())


def serve(
    serving: Serving,
    device: torch.device,
    step: Callable[[], Any],
    base: int,
    more: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Answer requests until there are none: time a step, or tell more.

    Args:
        serving: the channel.
        device: where the step runs.
        step: what is timed.
        base: bytes held before anything was built.
        more: what else there is to tell.
    """
    serving.tell(ready=True)
    while (request := serving.ask()) in ("step", "more"):
        if request == "more":
            serving.tell(**(more() if more else {}))
            continue
        synchronize(device)
        begun = time.perf_counter()
        step()
        synchronize(device)
        seconds = time.perf_counter() - begun
        serving.tell(seconds=seconds, memory=peak_bytes(device) - base)


def serve_loop(
    serving: Serving,
    device: torch.device,
    run: Callable[[Callable[[], bool], Callable[[], None]], None],
) -> None:
    """Answer requests from within a foreign loop, which asks for its batches itself.

    Args:
        serving: the channel.
        device: where the loop works.
        run: runs the loop. It is given what to call before every step (False: end the loop) and
            what to call when everything is imported and nothing built.
    """
    base = 0
    begun: float | None = None
    over = ready = False

    def imported() -> None:
        nonlocal base
        base = peak_bytes(device)

    def between() -> bool:
        nonlocal begun, over, ready
        if begun is not None:
            synchronize(device)
            seconds, begun = time.perf_counter() - begun, None
            serving.tell(seconds=seconds, memory=peak_bytes(device) - base)
        elif not ready:
            ready = True
            serving.tell(ready=True)
        while not over and (request := serving.ask()) != "step":
            if request == "more":
                serving.tell()
            else:
                over = True
        begun = time.perf_counter()
        return not over

    run(between, imported)


class Variant:
    """A child process that makes steps when asked.

    Args:
        name: what to call it.
        script: the file that it runs.
        arguments: command line of the child.
    """

    def __init__(self, name: str, script: str | Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.warm_up = 0.0
        self.seconds: list[float] = []
        self.memory = 0
        pipe = subprocess.PIPE
        command = [sys.executable, str(script), *arguments]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def wait(self) -> None:
        """Wait until it is ready."""
        self._answer()

    def step(self) -> float:
        """Make one step and return its seconds."""
        answer = self._ask("step")
        self.memory = answer["memory"]
        return float(answer["seconds"])

    def more(self) -> dict[str, Any]:
        """Return what else it has to tell."""
        return self._ask("more")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(60)

    def row(self) -> dict[str, Any]:
        """Return its figures."""
        return {
            "warm_up_seconds": self.warm_up,
            "seconds": self.seconds,
            "median_seconds": statistics.median(self.seconds),
            "memory_bytes": self.memory,
        }

    def _ask(self, request: str) -> dict[str, Any]:
        if self._process.stdin:
            print(request, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{self.name}: the process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def variants(script: str | Path, wanted: dict[str, Sequence[str]]) -> Iterator[list[Variant]]:
    """Start the children of a script, one after the other, by name and command line."""
    started: list[Variant] = []
    try:
        for name, arguments in wanted.items():
            started.append(Variant(name, script, arguments))
            started[-1].wait()
            print(f"{name}: ready", file=sys.stderr, flush=True)
        yield started
    finally:
        for variant in started:
            variant.close()


def alternate(running: Sequence[Variant], steps: int) -> None:
    """Let every variant make one step to warm up and then so many that count, taking turns."""
    for turn in range(1 + steps):
        for variant in running:
            seconds = variant.step()
            print(f"{variant.name}: {seconds:.3f} s", file=sys.stderr, flush=True)
            if turn:
                variant.seconds.append(seconds)
            else:
                variant.warm_up = seconds


def times_faster(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how many times faster the first row is: the median over pairs of turns."""
    pairs = zip(other["seconds"], one["seconds"], strict=True)
    return statistics.median(b / a for b, a in pairs)
