"""Which runs of an ablation are missing, in which order, and making them several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import NamedTuple

from _ablation_scores import Row
from _ablation_variants import Variant


class Task(NamedTuple):
    """One run to make."""

    variant: Variant
    seed: int


class RunFailed(Exception):
    """A process of a run ended with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def plan(
    variants: Sequence[Variant],
    seeds: Callable[[Variant], Iterable[int]],
    done: set[tuple[str, int]],
) -> list[Task]:
    """Return the missing runs, all variants of a seed before the next: results come in pairs."""
    wanted = {variant.name: list(seeds(variant)) for variant in variants}
    order = list(dict.fromkeys(sorted(seed for listed in wanted.values() for seed in listed)))
    return [
        Task(variant, seed)
        for seed in order
        for variant in variants
        if seed in wanted[variant.name] and (variant.name, seed) not in done
    ]


def work_through(
    tasks: Sequence[Task],
    run: Callable[[Task], Row],
    keep: Callable[[Row], None],
    *,
    jobs: int,
    may_start: Callable[[], bool] = lambda: True,
    stop: Callable[[], None] = lambda: None,
) -> list[str]:
    """Make runs, several at once, and keep each as it ends.

    Args:
        tasks: what to run, in this order.
        run: makes one.
        keep: stores its row; called by one thread at a time.
        jobs: how many at once.
        may_start: asked before each.
        stop: called if this is interrupted.

    Returns:
        One line for each run that failed.
    """
    waiting, failures, lock, ended = deque(tasks), list[str](), Lock(), Event()

    def next_task() -> Task | None:
        with lock:
            return waiting.popleft() if waiting and not ended.is_set() and may_start() else None

    def work() -> None:
        try:
            while (task := next_task()) is not None:
                try:
                    row = run(task)
                except RunFailed as failed:
                    with lock:
                        failures.append(f"{task.variant.name}, seed {task.seed}: {failed}")
                else:
                    with lock:
                        keep(row)
        except BaseException:  # a fault of this script: the others shall not go on for hours
            ended.set()
            stop()
            raise

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in [pool.submit(work) for _ in range(jobs)]:
                future.result()
        except BaseException:
            ended.set()
            stop()
            raise
    return failures
