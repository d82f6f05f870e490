"""Options of the dense CRF that several commands share."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import cast

from fsr.cli._types import count, fraction
from fsr.refine import BACKENDS, CRF_PRESETS, CRFPool, CRFPreset, DenseCRF


def add_crf_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--crf` and how it works."""
    group = parser.add_argument_group("dense CRF")
    group.add_argument(
        "--crf",
        choices=("none", *BACKENDS),
        default="none",
        help="refine with a dense CRF: pydensecrf is fastest and needs the extra crf, lattice is "
        "as near and needs none, torch is exact and for small images (default: none)",
    )
    group.add_argument(
        "--crf-preset",
        choices=CRF_PRESETS,
        help="settings (default: test for predictions, labels for label maps)",
    )
    group.add_argument(
        "--crf-min-probability",
        type=fraction,
        default=1e-6,
        metavar="P",
        help="classes that are less probable everywhere in an image take no part (default: 1e-6)",
    )
    group.add_argument(
        "--crf-workers",
        type=count,
        default=0,
        metavar="N",
        help="processes that run the CRF (default: 0, run it in this one)",
    )


def build_crf(
    options: argparse.Namespace, stack: ExitStack, preset: str = "test"
) -> DenseCRF | CRFPool | None:
    """Return the dense CRF asked for, or None; a pool of processes ends with the stack."""
    if options.crf == "none":
        return None
    crf = DenseCRF(
        cast("CRFPreset", options.crf_preset or preset),
        backend=options.crf,
        min_probability=options.crf_min_probability,
    )
    if options.crf_workers == 0:
        return crf
    return stack.enter_context(CRFPool(crf, options.crf_workers))
