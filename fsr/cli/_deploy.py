"""What the commands that write a network for use elsewhere share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from fsr._core.outputs import check_output
from fsr.cli._outcome import DONE, guarded
from fsr.cli._parser import Parser
from fsr.deploy import OUTPUTS, Exported, metadata_of
from fsr.segmenter import SingleStageSegmenter

Write = Callable[[SingleStageSegmenter, argparse.Namespace], Exported]


def add_network_arguments(parser: Parser, suffix: str) -> None:
    """Add what is read, what is written and which maps it gives."""
    parser.add_argument("checkpoint", type=Path, help="network file, as training writes them")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"file to write (default: MODEL{suffix})"
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        choices=OUTPUTS,
        metavar="NAME",
        help="maps that it gives: probabilities, cam (default: probabilities, of networks without "
        "a decoder cam)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def write_network(options: argparse.Namespace, prog: str, suffix: str, write: Write) -> int:
    """Write a network, and say what the file is like; return the exit status.

    Args:
        options: of the command.
        prog: what messages call it.
        suffix: ending of the file if none is named.
        write: writes the file.
    """
    output = (options.output or options.checkpoint.with_suffix(suffix)).expanduser()
    options.output = output

    def work() -> int:
        if output.exists() and not options.overwrite:
            raise ValueError(f"{output}: there is such a file; --overwrite replaces it")
        check_output(output.parent)
        model = SingleStageSegmenter.load(options.checkpoint)
        made = write(model, options)
        sizes = ", ".join("x".join(map(str, size)) for size in made.sizes)
        height, width = metadata_of(model)["patch"]
        print(f"{made.path}: {made.path.stat().st_size / 1e6:.1f} MB")
        print(
            f"images (batch, 3, height, width), height a multiple of {height}, width of {width}\n"
            f"differs from PyTorch by at most {made.difference:.1e} (tried on {sizes})"
        )
        return DONE

    return guarded(prog, work, again="nothing was written")
