"""Variants in processes of their own that take turns, so that all share the machine's minutes."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import torch
from _machine import peak_bytes

Tell = Callable[..., None]
Ask = Callable[[], str]
Patience = Callable[[], float]

OUT_OF_MEMORY = "out of memory"
# What the text of an exception holds, in lower case, when memory has run out.
SIGNS = (OUT_OF_MEMORY, "memoryerror", "can't allocate memory", "alloc_failed", "bad_alloc")
# Seconds that a child process has to end, and one that may fail; then it is killed.
ENDING, ENDING_SOON = 60, 10


# Bytes that a child may keep between steps; to fetch less anew would only show in its time.
KEEPS = 2**30


class Failed(SystemExit):
    """A child process has failed or is late; uncaught, it ends the run with one line."""


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
    """Set a child process up; what it prints from now on goes to standard error.

    An exception that ends the process is told to the parent too.
    """
    torch.set_num_threads(threads)
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    # A descriptor of its own, so that neither a library's prints nor what is started get into it.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr

    def tell(**values: Any) -> None:
        print(json.dumps(values), file=channel, flush=True)

    def tell_error(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, Exception):
            with suppress(BrokenPipeError):
                tell(error=_reason(error))
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = tell_error
    return Serving(tell, lambda: sys.stdin.readline().strip())


def _reason(error: BaseException) -> str:
    """Spell an exception in one line."""
    text = f"{type(error).__name__}: {error}"
    if any(sign in text.lower() for sign in SIGNS):
        return OUT_OF_MEMORY
    return text.partition("\n")[0][:200]


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
        memory = peak_bytes(device) - base
        if memory > KEEPS:
            give_memory_back()
        serving.tell(seconds=seconds, memory=memory)


def give_memory_back() -> None:
    """Return what is free to the system, so that the next side has it; where libc can."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class PassClock:
    """Takes the time of a network's forward passes on a CPU, step by step.

    On a GPU it stays out of the way: to wait for every pass would slow the loop that is timed.

    Args:
        device: where the network is.
    """

    def __init__(self, device: torch.device) -> None:
        self.steps: list[float] = []
        self._watches = device.type == "cpu"
        self._begun = 0.0

    def watch(self, network: torch.nn.Module) -> None:
        """Take the time of this network from now on."""
        if self._watches:
            network.register_forward_pre_hook(self._begin)
            network.register_forward_hook(self._end)

    def next_step(self) -> None:
        """Begin another step."""
        self.steps.append(0.0)

    def more(self) -> dict[str, Any]:
        """Return the seconds of all steps but the first, which warms up."""
        return {"network_seconds": self.steps[1:]} if self._watches else {}

    def _begin(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self.steps[-1] += time.perf_counter() - self._begun


def serve_loop(
    serving: Serving,
    device: torch.device,
    run: Callable[[Callable[[], bool], Callable[[], None]], None],
    more: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Answer requests from within a foreign loop, which asks for its batches itself.

    Args:
        serving: the channel.
        device: where the loop works.
        run: runs the loop. It is given what to call before every step (False: end the loop) and
            what to call when everything is imported and nothing built.
        more: what else there is to tell.
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
            give_memory_back()
            serving.tell(seconds=seconds, memory=peak_bytes(device) - base)
        elif not ready:
            ready = True
            serving.tell(ready=True)
        while not over and (request := serving.ask()) != "step":
            if request == "more":
                serving.tell(**(more() if more else {}))
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
        patience: returns the seconds that the next answer may take. Given, a child that fails or is
            late drops out and the run goes on; None waits for ever, and a failure ends the run.

    Attributes:
        failure: why it dropped out; empty while it serves.
    """

    def __init__(
        self,
        name: str,
        script: str | Path,
        arguments: Sequence[str],
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self.failure = ""
        self.warm_up = 0.0
        self.seconds: list[float] = []
        self.memory = 0
        pipe = subprocess.PIPE
        command = [sys.executable, str(script), *arguments]
        self._patience = patience
        # A session of its own, so that what it has started in turn can be killed with it.
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, start_new_session=patience is not None
        )

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Let a failure pass if patience was given."""
        try:
            yield
        except Failed as failed:
            if self._patience is None:
                raise
            print(failed, file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Wait until it is ready."""
        self._answer()

    def step(self) -> float:
        """Make one step and return its seconds."""
        answer = self._ask("step")
        self.memory = answer["memory"]
        return float(answer["seconds"])

    def more(self) -> dict[str, Any]:
        """Return what else it has to tell; nothing if it has failed."""
        answer: dict[str, Any] = {}
        if not self.failure:
            with self.tolerated():
                answer = self._ask("more")
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(ENDING if self._patience is None else ENDING_SOON)
        except subprocess.TimeoutExpired:
            self._kill()

    def row(self) -> dict[str, Any]:
        """Return its figures, or why there are none."""
        if self.failure:
            return {"failure": self.failure}
        return {
            "warm_up_seconds": self.warm_up,
            "seconds": self.seconds,
            "median_seconds": statistics.median(self.seconds),
            "memory_bytes": self.memory,
        }

    def _ask(self, request: str) -> dict[str, Any]:
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it has ended; the answer says so
                print(request, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        pipe: Any = self._process.stdout
        if self._patience is not None:
            seconds = max(self._patience(), 0.0)
            if not select.select([pipe], [], [], seconds)[0]:
                self._kill()
                self._fail(f"no answer in {seconds:.0f} s")
        line = pipe.readline()
        if not line:
            code = self._process.wait()
            # Nobody else kills it: on Linux that is how a process ends that takes all memory.
            killed = code == -signal.SIGKILL
            self._fail(OUT_OF_MEMORY if killed else f"the process ended with {code}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self._fail(answer["error"])
        return answer

    def _fail(self, reason: str) -> NoReturn:
        self.failure = reason
        raise Failed(f"{self.name}: {reason}")

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._patience is None:
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def variants(
    script: str | Path,
    wanted: Mapping[str, Sequence[str]],
    *,
    patience: Patience | None = None,
    together: bool = False,
) -> Iterator[list[Variant]]:
    """Start the children of a script by name and command line.

    Args:
        script: the file that they run.
        wanted: their command lines.
        patience: see :class:`Variant`.
        together: start all at once instead of one after the other.
    """
    started: list[Variant] = []

    def wait(variant: Variant) -> None:
        with variant.tolerated():
            variant.wait()
            print(f"{variant.name}: ready", file=sys.stderr, flush=True)

    try:
        for name, arguments in wanted.items():
            started.append(Variant(name, script, arguments, patience))
            if not together:
                wait(started[-1])
        for variant in started if together else ():
            wait(variant)
        yield started
    finally:
        for variant in started:
            variant.close()


def alternate(running: Sequence[Variant], steps: int) -> None:
    """Let every variant make one step to warm up and then so many that count, taking turns."""
    for turn in range(1 + steps):
        for variant in running:
            if variant.failure:
                continue
            with variant.tolerated():
                seconds = variant.step()
                print(f"{variant.name}: {seconds:.3f} s", file=sys.stderr, flush=True)
                if turn:
                    variant.seconds.append(seconds)
                else:
                    variant.warm_up = seconds


def times_faster(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how many times faster the first row is: the median over pairs of turns."""
    pairs = zip(other["seconds"], one["seconds"], strict=True)
    return float(statistics.median(b / a for b, a in pairs))
