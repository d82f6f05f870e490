"""Whether an operation runs as a kernel written in Triton: asked for, on a GPU, installed."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

# 1 turns the kernels on. They are off until they have run on a GPU.
SWITCH = "FSR_TRITON"
# Triton's own: 1 runs kernels in Python, on any device.
INTERPRETED = "TRITON_INTERPRET"


def kernels_wanted(value: Tensor) -> bool:
    """Tell whether Triton kernels were asked for and can run where a tensor lies.

    They were asked for with the environment variable ``FSR_TRITON=1``. They run on GPUs, elsewhere
    only in Triton's interpreter (``TRITON_INTERPRET=1``), and not within ``torch.compile``, which
    makes kernels of its own.

    Args:
        value: what is to be computed on.

    Raises:
        ImportError: kernels were asked for, but Triton is not installed.
        ValueError: the variable is neither 0 nor 1.

    Example:
        >>> kernels_wanted(torch.zeros(1))
        False
    """
    if torch.compiler.is_compiling():
        return False
    chosen = os.environ.get(SWITCH, "") or "0"
    if chosen not in ("0", "1"):
        raise ValueError(f"{SWITCH}: expected 0 or 1 in the environment, got {chosen!r}")
    interpreted = value.device.type == "cpu" and os.environ.get(INTERPRETED) == "1"
    if chosen == "0" or not (value.device.type == "cuda" or interpreted):
        return False
    if importlib.util.find_spec("triton") is None:
        raise ImportError(
            f"{SWITCH}=1 needs the package 'triton', which comes with torch for GPUs on Linux: "
            f"install it, or set {SWITCH}=0"
        )
    return True
