"""A stream of training draws of which every one is a pure function of the seed and its position.

Nothing about the order or the augmentation lives in a random state, so a run that was killed goes
on where it stopped by asking for the next position, and neither the number of worker processes nor
that of training processes changes what a position holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fsr._core.checks import check_positive_int
from fsr._core.spelled import describe
from fsr.data._sample import Sample


class SampleSource(Protocol):
    """Anything that has a length and indexes to :class:`fsr.data.Sample`."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int, /) -> Sample:
        """Return one sample."""


def derive_seed(*keys: int) -> int:
    """Mix integers into one well-spread seed, the same on every platform and in every process.

    Args:
        keys: integers of at least 0, for example the seed of a run, a purpose and a step.

    Returns:
        An integer in [0, 2**63), fit for ``torch.manual_seed`` and ``Generator.manual_seed``.

    Example:
        >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
        (True, False)
    """
    for key in keys:
        if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
            raise TypeError(f"keys: expected integers of at least 0, got {key!r}")
        if key < 0:
            raise ValueError(f"keys: expected integers of at least 0, got {key}")
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


class ViewStream(Dataset[tuple[Any, Tensor]]):
    """Endless seeded shuffles of a data set, each image seen through a random transform.

    Positions count draws from the start of the run: position p is in shuffle ``p // len(dataset)``,
    and every image comes once per shuffle. The transform may follow torch's global random state (as
    :class:`fsr.data.TwoViews` does): it is seeded per position and restored afterwards.

    Args:
        dataset: indexes to :class:`fsr.data.Sample`; masks are never touched.
        transform: maps the PIL image to what is trained on.
        seed: seed of order and augmentation.
        whole: hand the transform the whole sample instead of its image.

    Raises:
        ValueError: the data set is empty.

    Example:
        >>> from PIL import Image
        >>> images = [Sample(Image.new("RGB", (1, 1)), torch.ones(1), None, n) for n in "abc"]
        >>> stream = ViewStream(images, lambda image: torch.rand(()), seed=0)
        >>> bool(stream[7][0] == stream[7][0]), bool(stream[7][0] == stream[8][0])
        (True, False)
        >>> sorted(stream.index(position) for position in range(3, 6))
        [0, 1, 2]
    """

    def __init__(
        self,
        dataset: SampleSource,
        transform: Callable[[Any], Any],
        *,
        seed: int = 0,
        whole: bool = False,
    ) -> None:
        if len(dataset) < 1:
            raise ValueError("dataset: expected at least one sample, got an empty data set")
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.whole = whole
        self._shuffle: tuple[int, Tensor] | None = None

    def __repr__(self) -> str:
        whole = ", whole=True" if self.whole else ""
        return (
            f"ViewStream({describe(self.dataset)}, {describe(self.transform)}, seed={self.seed}"
            f"{whole})"
        )

    def index(self, position: int) -> int:
        """Return the index into the data set that ``position`` draws."""
        if isinstance(position, bool) or not isinstance(position, (int, np.integer)):
            raise TypeError(f"position: expected an integer of at least 0, got {position!r}")
        if position < 0:
            raise ValueError(f"position: expected an integer of at least 0, got {position}")
        epoch, offset = divmod(position, len(self.dataset))
        if self._shuffle is None or self._shuffle[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, 0, epoch))
            self._shuffle = (epoch, torch.randperm(len(self.dataset), generator=generator))
        return int(self._shuffle[1][offset])

    def __getitem__(self, position: int) -> tuple[Any, Tensor]:
        """Return the transformed image and the multi-hot labels ``(C,)`` of a position."""
        sample = self.dataset[self.index(position)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, 1, position))
            return self.transform(sample if self.whole else sample.image), sample.labels


class StepBatches:
    """Batch sampler that deals each step's positions to processes and micro-batches.

    Step s covers positions ``s * batch_size`` to ``(s + 1) * batch_size - 1`` for any number of
    processes; each process takes ``accumulation`` micro-batches of it.

    Args:
        batch_size: images per step over all processes and micro-batches (the effective batch).
        steps: number of steps of the run.
        start: first step, counted from 0.
        accumulation: micro-batches per step and process.
        rank: index of this process.
        processes: number of processes.

    Raises:
        ValueError: ``batch_size`` is no multiple of ``accumulation * processes``.

    Example:
        >>> list(StepBatches(4, steps=2, accumulation=2))
        [[0, 1], [2, 3], [4, 5], [6, 7]]
        >>> list(StepBatches(4, steps=2, start=1, processes=2, rank=1))
        [[6, 7]]
    """

    def __init__(
        self,
        batch_size: int,
        *,
        steps: int,
        start: int = 0,
        accumulation: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        for name, value in (
            ("batch_size", batch_size),
            ("accumulation", accumulation),
            ("processes", processes),
        ):
            check_positive_int(name, value)
        parts = accumulation * processes
        if batch_size % parts:
            raise ValueError(
                f"batch_size: expected a multiple of accumulation * processes = "
                f"{accumulation} * {processes}, got {batch_size}"
            )
        self.batch_size = batch_size
        self.micro_batch = batch_size // parts
        self.steps = steps
        self.start = start
        self.accumulation = accumulation
        self.rank = rank
        self.processes = processes

    def __repr__(self) -> str:
        return (
            f"StepBatches({self.batch_size}, steps={self.steps}, start={self.start}, "
            f"accumulation={self.accumulation}, rank={self.rank}, processes={self.processes})"
        )

    def __len__(self) -> int:
        return max(self.steps - self.start, 0) * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            for micro in range(self.accumulation):
                part = micro * self.processes + self.rank
                first = step * self.batch_size + part * self.micro_batch
                yield list(range(first, first + self.micro_batch))
