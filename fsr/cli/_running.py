"""Options that say how a network runs, shared by the commands that run one."""

from __future__ import annotations

import argparse

import torch

from fsr.cli._types import count, positive_int

AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the batch size, worker processes, device and precision."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--batch-size",
        type=positive_int,
        default=1,
        metavar="N",
        help="images that share a batch where their sizes allow it (default: 1)",
    )
    group.add_argument(
        "--workers",
        type=count,
        default=0,
        metavar="N",
        help="processes that read images (default: 0, read in this one)",
    )
    group.add_argument(
        "--device", type=_device, help="cpu, cuda, cuda:1, ... (default: cuda if there is one)"
    )
    group.add_argument(
        "--autocast", choices=AUTOCAST, default="none", help="lower precision (default: none)"
    )


def _device(text: str) -> str:
    """Return the name of a device that torch knows, whether or not it is there."""
    try:
        torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"expected cpu, cuda, cuda:1, ..., got {text!r}") from None
    return text


def device_of(options: argparse.Namespace) -> str:
    """Return the device asked for; by default the graphics card of this process, or the CPU."""
    asked: str | None = options.device
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")
