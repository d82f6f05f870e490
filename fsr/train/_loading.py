"""How a training process gets its batches: worker processes, how far ahead they draw."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from fsr.data import StepBatches, ViewStream
from fsr.errors import DataError
from fsr.train._batch import Batch, batch_of
from fsr.train._interrupt import ignore_interrupts
from fsr.train._options import Config

if TYPE_CHECKING:
    from accelerate import Accelerator

# A core reads and draws some 65 photographs a second (benchmarks/loading.py): eight of them are
# ahead of any GPU's steps, and more would only take memory.
MOST_WORKERS = 8
# Batches wait in shared memory: at most so much of them, where that leaves two for each worker.
AHEAD_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Loading:
    """How a training process gets its batches.

    Attributes:
        workers: processes that read and draw; 0 draws in the training process.
        cores: cores for this process and its workers, at least 1.
        gpu: whether the network runs elsewhere than on these cores.
    """

    workers: int
    cores: int
    gpu: bool


def choose_loading(asked: int | None, *, device: str, cores: int, processes: int) -> Loading:
    """Choose the worker processes of each training process on a machine.

    Args:
        asked: workers by option, None to choose.
        device: type of the device that the network runs on, such as `cpu` or `cuda`.
        cores: cores that the training processes of this machine may use together.
        processes: how many of them run here.

    Example:
        >>> choose_loading(None, device="cuda", cores=16, processes=4)
        Loading(workers=4, cores=4, gpu=True)
    """
    share, gpu = max(1, cores // processes), device != "cpu"
    if asked is not None:
        return Loading(asked, share, gpu)
    # On a CPU the network computes on every core: a worker would take from it what it gives.
    return Loading(min(share, MOST_WORKERS) if gpu else 0, share, gpu)


def loading_here(config: Config, accelerator: Accelerator) -> Loading:
    """Return how this process of a run gets its batches."""
    return choose_loading(
        config.data.workers,
        device=accelerator.device.type,
        cores=usable_cores(),
        processes=processes_here(accelerator.num_processes, os.environ),
    )


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processes_here(processes: int, environment: Mapping[str, str]) -> int:
    """Return how many of the training processes run on this machine; all of them if not told."""
    return int(environment.get("LOCAL_WORLD_SIZE", processes))


def batches_ahead(workers: int, batch_bytes: int) -> int | None:
    """Return the batches that each worker draws ahead: 4, or down to 2 where those are large.

    Two are enough for workers that are fast on average; more bridge a slow disk's pauses.
    """
    if workers == 0:
        return None  # what the loader wants to hear where nothing is drawn ahead
    return max(2, min(4, AHEAD_BYTES // (workers * batch_bytes)))


def micro_batches(
    stream: ViewStream, config: Config, accelerator: Accelerator, workers: int, *, start: int
) -> Iterator[Batch]:
    """Yield this process's micro-batches from a step on, on its device.

    Args:
        stream: the views of every position of the run.
        config: options of the run.
        accelerator: how the processes are joined.
        workers: processes that draw batches; 0 draws in this one.
        start: completed steps.

    Raises:
        DataError: an image has no known labels.
    """
    sampler = StepBatches(
        config.data.batch_size,
        steps=config.steps,
        start=start,
        accumulation=accelerator.gradient_accumulation_steps,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    views_bytes = 2 * 3 * config.data.image_size**2 * 4  # two float32 images
    loader: DataLoader[Any] = DataLoader(
        stream,
        batch_sampler=sampler,
        num_workers=workers,
        prefetch_factor=batches_ahead(workers, sampler.micro_batch * views_bytes),
        worker_init_fn=ignore_interrupts,
        pin_memory=accelerator.device.type == "cuda",
    )
    for drawn, labels in loader:
        if labels.isnan().any():
            raise DataError(f"data.train_split: {config.data.train_split!r} has unknown labels")
        yield batch_of(drawn, labels).to(accelerator.device)
