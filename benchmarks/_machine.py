"""The machine that a figure was measured on, and what it can do at best."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

# Rows, inner and outer size of products: those of ViT-B at 448 pixels, of a projector, a square.
SHAPES = (
    (3136, 768, 3072),
    (3136, 3072, 768),
    (3136, 768, 2304),
    (1570, 2048, 4096),
    (2048, 2048, 2048),
)
# A GPU is given a larger one too: of those above it would mostly show what a launch costs.
GPU_SHAPE = (8192, 8192, 8192)
REPEATS = 4


def machine(device: torch.device) -> dict[str, Any]:
    """Return what names the machine."""
    named: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        named["gpu"] = torch.cuda.get_device_name(device)
    return named


def peak_bytes(device: torch.device) -> int:
    """Return the most memory used so far: on a GPU by tensors, else by this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def peak_flops(precision: str, device: torch.device, threads: int) -> float:
    """Return operations per second of the best of 4 products of each of 5 shapes (GPU: 6)."""
    before, precise = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    with torch.no_grad():
        for rows, inner, outer in (*SHAPES, GPU_SHAPE) if device.type == "cuda" else SHAPES:
            left = torch.randn(rows, inner, device=device).to(dtype)
            right = torch.randn(outer, inner, device=device).to(dtype)
            for _ in range(REPEATS):
                _wait(device)
                begun = time.perf_counter()
                F.linear(left, right)
                _wait(device)
                seconds = time.perf_counter() - begun
                best = max(best, 2 * rows * inner * outer / seconds)
    torch.set_num_threads(before)
    torch.set_float32_matmul_precision(precise)
    return best


def write_json(path: Path, value: Any) -> None:
    """Write a result; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(value, indent=2) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
