"""``fsr report``: what came of a training run, as one HTML file; or several runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fsr.cli._outcome import DONE, guarded
from fsr.cli._parser import Parser
from fsr.cli._types import count
from fsr.report import compare_runs, write_report

SUMMARY = "Write the report of a training run, or compare several, as one HTML file."
NOTES = """
  fsr report runs/scenes                # writes runs/scenes/report.html, finished or not
  fsr report runs/scenes runs/scenes-2  # writes comparison.html: both runs side by side

The file asks no other host for anything: open it in a browser, or send it to somebody.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders of runs, as fsr train writes them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file to write (default: report.html in the run's folder; of several runs "
        "comparison.html here)",
    )
    parser.add_argument(
        "--images",
        type=count,
        metavar="N",
        help="pictures of each kind to show (default: all that the run drew, run.sheet_images)",
    )
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Write the file; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    if len(options.runs) > 1 and options.images is not None:
        parser.error("argument --images: a comparison of runs shows no pictures")
    return guarded(prog, lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    """Write the report, or the comparison, and tell where."""
    runs, output = options.runs, options.output
    if len(runs) == 1:
        print(write_report(runs[0], output=output, images=options.images))
    else:
        print(compare_runs(runs) if output is None else compare_runs(runs, output=output))
    return DONE
