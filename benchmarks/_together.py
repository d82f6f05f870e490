"""Processes that make the training steps of `scaling.py` together, by DistributedDataParallel."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from _machine import peak_bytes
from step import OurStep
from torch import distributed

LONGEST_WAIT = timedelta(minutes=30)


class Member:
    """One of the processes that make a step together.

    Args:
        options: the benchmark's options, for this process.
        rank: its number.
        meeting: the file through which the processes find each other.
    """

    def __init__(self, options: Namespace, rank: int, meeting: str) -> None:
        import fsr.objective  # noqa: F401  # what an import costs is not the step's

        gpu = options.device == "cuda"
        if gpu:
            torch.cuda.set_device(rank)
        self.device = torch.device(f"cuda:{rank}" if gpu else "cpu")
        self.base = peak_bytes(self.device)
        self.processes = options.processes
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            init_method=f"file://{meeting}",
            rank=rank,
            world_size=options.processes,
            timeout=LONGEST_WAIT,
        )
        options.device = str(self.device)
        self.step = OurStep(options, wrap=torch.nn.parallel.DistributedDataParallel)

    def request(self, asked: str = "") -> str:
        """Return what the first process asks of all."""
        asked_of_all = [asked]
        distributed.broadcast_object_list(asked_of_all, src=0)
        return asked_of_all[0]

    def memory(self) -> dict[str, Any]:
        """Return the bytes of every process."""
        found = [0] * self.processes
        distributed.all_gather_object(found, peak_bytes(self.device) - self.base)
        return {"memory_of_processes": found}

    def lead(self, request: str) -> Any:
        """Ask all processes for something and do it."""
        self.request(request)
        return self.step() if request == "step" else self.memory()


def follow(options: Namespace, rank: int, meeting: str) -> None:
    """Do what the first process asks, as one of the others."""
    sys.stdout = sys.stderr
    torch.set_num_threads(options.threads)
    member = Member(options, rank, meeting)
    while request := member.request():
        if request == "step":
            member.step()
        else:
            member.memory()
    distributed.destroy_process_group()


@contextmanager
def leading(options: Namespace) -> Iterator[Member]:
    """Start the other processes; end them afterwards."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        for rank in range(1, options.processes):
            context.Process(target=follow, args=(options, rank, meeting), daemon=True).start()
        member = Member(options, 0, meeting)
        yield member
        member.request()
        distributed.destroy_process_group()
