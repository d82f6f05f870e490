"""Options of the dense CRF that several scripts share."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

BACKENDS = ("none", "pydensecrf", "torch")


def add_crf_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--crf` and `--crf-workers`."""
    group = parser.add_argument_group("dense CRF")
    group.add_argument("--crf", choices=BACKENDS, default="none", help="backend; default: none")
    group.add_argument(
        "--crf-workers", type=int, default=0, help="processes of pydensecrf; 0: in this one"
    )


def build_crf(options: argparse.Namespace, stack: ExitStack) -> Any:
    """Return the dense CRF asked for, or None; a pool of processes ends with the stack."""
    if options.crf == "none":
        return None
    from fsr.refine import CRFPool, DenseCRF

    crf = DenseCRF(backend=options.crf)
    if options.crf_workers == 0:
        return crf
    return stack.enter_context(CRFPool(crf, options.crf_workers))
