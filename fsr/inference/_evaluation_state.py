"""What an evaluation has counted so far, on disk, for the same evaluation to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fsr._core.distributed import is_distributed
from fsr._core.files import whole_file
from fsr.inference._provenance import fingerprint
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
        self.fingerprint = fingerprint([settings, world, rank])

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
        reasons = json.loads(header.get("failed", "{}"))
        scoring.failed = {int(index): reason for index, reason in reasons.items()}
        return int(header["done"])

    def save(self, scoring: Scoring, done: int) -> None:
        """Write the counts of the first ``done`` images of this process."""
        counts = {name: value.cpu().contiguous() for name, value in scoring.state().items()}
        header = {"fingerprint": self.fingerprint, "done": str(done)}
        if scoring.failed:
            header["failed"] = json.dumps(scoring.failed)
        with whole_file(self.path) as draft:
            save_file(counts, draft, header)

    def remove(self) -> None:
        """Remove the file: the evaluation is over."""
        self.path.unlink(missing_ok=True)
