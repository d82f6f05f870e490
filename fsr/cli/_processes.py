"""Several processes of one command, started by torchrun."""

from __future__ import annotations

import os
from contextlib import ExitStack

import torch


def join_processes(stack: ExitStack) -> int:
    """Join the processes that torchrun started; return the number of this one on its machine."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    stack.callback(torch.distributed.destroy_process_group)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    return rank
