"""What a result came from: versions, weights, files and options, for the settings beside it."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fsr._core.version import __version__


def versions() -> dict[str, str]:
    """Versions of the packages that can change a result.

    Example:
        >>> sorted(versions())
        ['fsr-wsss', 'numpy', 'pillow', 'timm', 'torch', 'torchvision']
    """
    others = ("numpy", "pillow", "timm", "torch", "torchvision")
    return {"fsr-wsss": __version__, **{name: metadata.version(name) for name in others}}


def file_hash(path: Path) -> str:
    """SHA-256 of a file, such as a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of all weights and their names, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def describe(thing: Any) -> str:
    """Spell an object so that equal ones read alike in every run: no addresses."""
    if not isinstance(thing, list | tuple):
        text = repr(thing)
        if " at 0x" not in text:
            return text
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    # By the room that users import from: moving a file within its room makes nothing stale.
    home = ".".join(part for part in kind.__module__.split(".") if not part.startswith("_"))
    return f"{home}.{kind.__qualname__}"


def describe_crf(crf: Any) -> str:
    """Spell a CRF; how many processes run it changes no result."""
    return describe(getattr(crf, "crf", crf))


def fingerprint(settings: Any) -> str:
    """SHA-256 of all that changes a result, as plain data.

    Example:
        >>> fingerprint({"flip": True, "scales": (1.0,)}) == fingerprint(
        ...     {"scales": [1.0], "flip": True})
        True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
