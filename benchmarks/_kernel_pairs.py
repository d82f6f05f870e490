"""What the Triton kernels speed up, with them or without, as `gpu_suite.py` times it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from _children import serve, start_serving
from _machine import peak_bytes
from torch import Tensor

# Images, maps and side length of the dense energy and of the pseudo labels of a step at 448 pixels;
# the tiny form runs in Triton's interpreter on a CPU.
SIZES = {"dense energy": (8, 21, 224), "PAR": (8, 6, 224)}
QUICK = (1, 3, 12)


def dense_energy(images: Tensor, maps: Tensor) -> Callable[[], Tensor]:
    """Return the energy's gradient by the maps, as the trainer scales it."""
    from fsr.losses import gated_dense_energy

    gate = torch.rand_like(maps[:, :1])
    given = maps.softmax(dim=1).requires_grad_()

    def run() -> Tensor:
        energy = gated_dense_energy(255 * images, given, gate, 15.0, 50.0)
        return torch.autograd.grad(energy, given)[0]

    return run


def refinement(images: Tensor, maps: Tensor) -> Callable[[], Tensor]:
    """Return PAR of the maps."""
    from fsr.refine import PAR

    par = PAR()
    return lambda: par(images, maps)


CASES: dict[str, Callable[[Tensor, Tensor], Callable[[], Tensor]]] = {
    "dense energy": dense_energy,
    "PAR": refinement,
}


def par_bytes(batch: int, channels: int, side: int) -> int:
    """Return the bytes that PAR's kernels move at the least: affinities once, then ten moves."""
    neighbours, moves, pixels = 48, 10, batch * side * side
    return 4 * pixels * (4 * 3 + neighbours + moves * (2 * channels + neighbours))


def child(options: argparse.Namespace) -> None:
    """Serve runs to the parent process, and how far the two ways agree."""
    serving = start_serving(options.threads, "fp32")
    device = torch.device(options.device)
    if device.type == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    os.environ["FSR_TRITON"] = str(int(options.kernels))
    batch, channels, side = QUICK if options.quick else SIZES[options.case]
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3 + channels, 9, 9, generator=draw)
    drawn = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(device)
    base = peak_bytes(device)
    run = CASES[options.case](drawn[:, :3], drawn[:, 3:])

    def agreement() -> dict[str, Any]:
        if not options.kernels:
            return {}
        here = run()
        os.environ["FSR_TRITON"] = "0"
        plain = run()
        told = {"relative_difference": ((here - plain).norm() / plain.norm()).item()}
        if options.case == "PAR":
            told["least_bytes"] = par_bytes(batch, channels, side)
        return told

    serve(serving, device, run, base, agreement)


def main() -> int:
    """Run the child."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--case", choices=list(CASES), required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--quick", action="store_true")
    child(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
