"""Guarded collectives: the identity in a single process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    """Tell whether a process group of more than one process is running."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def all_reduce_sum(value: Tensor) -> Tensor:
    """Return the sum over all processes, as a new tensor without gradient.

    Example:
        >>> import torch
        >>> all_reduce_sum(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    total = value.detach().clone()
    if is_distributed():
        dist.all_reduce(total)
    return total


def is_main_process() -> bool:
    """Tell whether this is the first process, or the only one."""
    return not is_distributed() or dist.get_rank() == 0


def gather_objects(value: T) -> list[T]:
    """Return the plain values of all processes, in the order of their ranks.

    Example:
        >>> gather_objects(["a", 1])
        [['a', 1]]
    """
    if not is_distributed():
        return [value]
    values: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def in_main_process(work: Callable[[], None]) -> None:
    """Do something in the main process alone; all wait for it, and all raise its error.

    Example:
        >>> in_main_process(lambda: None)
    """
    error: Exception | None = None
    if is_main_process():
        try:
            work()
        except Exception as raised:
            error = raised
    first = gather_objects(error)[0]
    if first is not None:
        raise first
