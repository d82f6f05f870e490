"""What a result came from: versions, weights, files and options, for the settings beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.files import file_digest
from fsr._core.regular import check_regular
from fsr._core.spelled import describe
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
        DataError: it is a named pipe, a device or a socket.
    """
    check_regular(path)
    return file_digest(path)


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of all weights and their names, whatever file they came from."""
    return tensors_hash(network.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors: their names, types, shapes and values.

    Example:
        >>> one, other = {"a": torch.zeros(2)}, {"a": torch.zeros(2, 1)}
        >>> tensors_hash(one) == tensors_hash(dict(one)), tensors_hash(one) == tensors_hash(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def structure_hash(network: nn.Module) -> str:
    """SHA-256 of how a network computes with its weights: its modules, and how images are scaled.

    The same weights give other maps under another dilation, for example.
    """
    backbone: Any = getattr(network, "backbone", None)
    pixels = [list(getattr(backbone, name, ())) for name in ("mean", "std")]
    return fingerprint([re.sub(r" at 0x[0-9a-fA-F]+", "", repr(network)), pixels])


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
