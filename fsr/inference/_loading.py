"""The one loader: items read by number, in batches, by worker processes or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from fsr._core.distributed import is_distributed
from fsr.inference._item import Item

# Reads one image by its number; what cannot be used comes as an item with an error.
Read = Callable[[int], Item]


class _Reading(Dataset[Item]):
    """Items by number, for the loader."""

    def __init__(self, read: Read) -> None:
        self.read = read

    def __getitem__(self, number: int) -> Item:
        return self.read(number)


def load(read: Read, batches: Iterable[Sequence[int]], num_workers: int) -> Iterator[list[Item]]:
    """Read items, batch by batch.

    Args:
        read: reads one image; with worker processes it must be picklable.
        batches: numbers of the images that come together.
        num_workers: processes that read; 0 reads in this one.
    """
    # With a generator of its own the loader leaves torch's global state to the training around it.
    loader: Any = DataLoader(
        _Reading(read),
        batch_sampler=_Numbers(batches),
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    yield from loader


class _Numbers:
    """Batches of numbers as the loader wants them: lists, drawn as they are needed."""

    def __init__(self, batches: Iterable[Sequence[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return map(list, self.batches)


def chunks(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut numbers into batches of at most ``size``, in order.

    Example:
        >>> [list(batch) for batch in chunks(range(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def own_share(total: int) -> range:
    """Return the indices of ``range(total)`` that fall to this process."""
    if is_distributed():
        return range(dist.get_rank(), total, dist.get_world_size())
    return range(total)
