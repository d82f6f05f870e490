"""A dense CRF of one photograph, as `gpu_suite.py` times it in a process of its own."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace

import torch
from _children import serve, start_serving
from _machine import peak_bytes
from inference import photographs
from torch.nn import functional as F

CLASSES, CORNER = 21, 64


def child(options: Namespace) -> None:
    """Serve refinements to the parent process, and how exact the filter is here."""
    serving = start_serving(options.threads, "fp32")
    device = torch.device(options.device)
    os.environ["FSR_TRITON"] = str(int(options.kernels))
    from fsr.filters import bilateral_filter
    from fsr.refine import DenseCRF

    base = peak_bytes(device)
    photograph = photographs(options, 1)
    coarse = 2 * torch.randn(1, CLASSES, 12, 16, generator=torch.Generator().manual_seed(1))
    scores = F.interpolate(coarse, photograph.shape[-2:], mode="bilinear").softmax(dim=1)
    image, maps = photograph[0].permute(1, 2, 0).contiguous().to(device), scores[0].to(device)
    crf = DenseCRF(backend=options.backend, max_pixels=None)

    def error() -> dict[str, float]:
        """Compare with the exact CRF of a corner, or its filter with that in float64 on the CPU."""
        if options.backend != "torch":
            corner = image[:CORNER, :CORNER].contiguous(), maps[:, :CORNER, :CORNER]
            exactly = DenseCRF(backend="torch")(*corner)
            return {"mean_difference_from_exact": (crf(*corner) - exactly).abs().mean().item()}
        values, colours = (part[..., :CORNER, :CORNER] for part in (scores, photograph))
        widths = {"sigma_xy": crf.settings.bilateral_sxy, "sigma_rgb": crf.settings.bilateral_srgb}
        here = bilateral_filter(values.to(device), colours.to(device).float(), **widths)
        exact = bilateral_filter(values.double(), colours.double(), **widths)
        told = {"filter_relative_error": (here.cpu() / exact - 1).abs().max().item()}
        if options.kernels:
            here = crf(image, maps)
            os.environ["FSR_TRITON"] = "0"
            told["differs_from_torch"] = (here - crf(image, maps)).abs().max().item()
        return told

    serve(serving, device, lambda: crf(image, maps), base, error)


def main() -> int:
    """Run the child."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--quick", action="store_true")
    child(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
