"""What an evaluation has counted so far, on disk, for the same evaluation to go on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fsr._core.distributed import is_distributed
from fsr.inference._scoring import Scoring


class EvaluationState:
    """The counts of one process in a file that appears whole or not at all.

    Args:
        path: file to write; in several processes each puts its number into the name.
        settings: all that changes a count, as plain data.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        world, rank = (dist.get_world_size(), dist.get_rank()) if is_distributed() else (1, 0)
        self.path = path if world == 1 else path.with_name(f"{path.name}.{rank}-of-{world}")
        spelled = json.dumps([settings, world, rank], sort_keys=True)
        self.fingerprint = hashlib.sha256(spelled.encode()).hexdigest()

    def load(self, scoring: Scoring) -> int:
        """Take over what was counted; return how many images that was, 0 without a file.

        Raises:
            ValueError: the file is of another evaluation, or no such file.
        """
        if not self.path.is_file():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                counts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{self.path}: no counts of an evaluation ({error})") from error
        if header.get("fingerprint") != self.fingerprint:
            raise ValueError(
                f"{self.path}: counts of another evaluation (other weights, data, options or "
                "number of processes); remove the file, or give another"
            )
        scoring.load(counts)
        return int(header["done"])

    def save(self, scoring: Scoring, done: int) -> None:
        """Write the counts of the first ``done`` images of this process."""
        counts = {name: value.cpu().contiguous() for name, value in scoring.state().items()}
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_file(counts, unfinished, {"fingerprint": self.fingerprint, "done": str(done)})
        unfinished.replace(self.path)

    def remove(self) -> None:
        """Remove the file: the evaluation is over."""
        self.path.unlink(missing_ok=True)
