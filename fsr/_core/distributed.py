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


def process_count() -> int:
    """Return how many processes run together; 1 without a process group."""
    return dist.get_world_size() if is_distributed() else 1


def joined_ratio(
    total: Tensor, count: Tensor, *, extra: int = 0, least: int = 1, joined: bool
) -> Tensor:
    r"""Divide a sum by a count, which is that of all processes together where they are joined.

    A process's ratio is then :math:`P \sum_r / \max(least, extra + \sum_{r'} n_{r'})` of P
    processes, so that the mean over the processes, which is what distributed training takes of
    losses and gradients, is the ratio of the whole batch.

    Example:
        >>> import torch
        >>> joined_ratio(torch.tensor(6.0), torch.tensor(2), extra=1, joined=True)
        tensor(2.)
    """
    if not joined or not is_distributed():
        return total / (extra + count).clamp(min=least)
    return process_count() * total / (extra + all_reduce_sum(count)).clamp(min=least)


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
