"""What an evaluation has counted so far, on disk, for the same evaluation to go on from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fsr._core.distributed import is_distributed
from fsr._core.files import whole_file
from fsr.inference._provenance import fingerprint, tensors_hash
from fsr.inference._scoring import Scoring

_log = logging.getLogger(__name__)
_WAY_OUT = "remove the file, or give another"


class EvaluationState:
    """The counts of one process in a file that appears whole or not at all.

    Args:
        path: file to write; in several processes each puts its number into the name.
        settings: all that changes a count, as plain data, by the name that messages give it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        world, rank = (dist.get_world_size(), dist.get_rank()) if is_distributed() else (1, 0)
        self.path = path if world == 1 else path.with_name(f"{path.name}.{rank}-of-{world}")
        every = {**settings, "number of processes": [world, rank]}
        self.parts = {name: fingerprint(value) for name, value in every.items()}

    def load(self, scoring: Scoring) -> int:
        """Take over what was counted; return how many images that was, 0 without a file.

        A file that is damaged counts as none, and a warning tells.

        Raises:
            ValueError: the file is of another evaluation, or no such file.
        """
        if not self.path.is_file():
            return 0
        read = self._read()
        if read is None:
            return 0
        header, counts = read
        before = _plain(header.get("made_of"))
        other = [name for name, value in self.parts.items() if before.get(name) != value]
        if other:
            raise ValueError(
                f"{self.path}: counts of another evaluation (other {', '.join(other)}); {_WAY_OUT}"
            )
        if header.get("sha256") != tensors_hash(counts):
            self._warn("its digest is another")
            return 0
        scoring.load(counts)
        reasons = json.loads(header.get("failed", "{}"))
        scoring.failed = {int(index): reason for index, reason in reasons.items()}
        return int(header["done"])

    def save(self, scoring: Scoring, done: int) -> None:
        """Write the counts of the first ``done`` images of this process."""
        counts = {name: value.cpu().contiguous() for name, value in scoring.state().items()}
        header = {
            "made_of": json.dumps(self.parts),
            "sha256": tensors_hash(counts),
            "done": str(done),
        }
        if scoring.failed:
            header["failed"] = json.dumps(scoring.failed)
        with whole_file(self.path) as draft:
            draft.write_bytes(save(counts, header))

    def remove(self) -> None:
        """Remove the file: the evaluation is over."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]] | None:
        """Read the file; None if it is one of counts that is damaged."""
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            with self.path.open("rb") as raw:
                begun = raw.read(9)
            # Nothing, or the eight bytes of a length and the brace of a header: such a file was
            # begun as one of tensors. What is not may be anything of the user's.
            if begun and begun[8:] != b"{":
                raise ValueError(
                    f"{self.path}: no counts of an evaluation ({error}); {_WAY_OUT}"
                ) from error
            self._warn(str(error))
            return None

    def _warn(self, reason: str) -> None:
        _log.warning("%s: is damaged (%s); the evaluation begins anew", self.path, reason)


def _plain(text: str | None) -> dict[str, Any]:
    """Return the parts that a header tells; none where it is no such header."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
