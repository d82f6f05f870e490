"""``fsr prepare voc``: SegmentationClassAug and the list train_aug, which the archive lacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fsr.cli._outcome import DONE, guarded
from fsr.cli._parser import Parser
from fsr.cli._progress import Progress
from fsr.cli._types import count
from fsr.data import VOC_IMAGES, build_train_aug, download_archives

SUMMARY = "Build the augmented training set of PASCAL VOC 2012."
NOTES = """
  fsr prepare voc --voc VOCdevkit/VOC2012 --sbd benchmark_RELEASE
  fsr prepare voc --voc data --sbd data --download     # fetches both first

Writes SegmentationClassAug and the list train_aug. VOC is the official archive
VOCtrainval_11-May-2012, SBD the Semantic Boundaries Dataset with its .mat files. Needs SciPy:
pip install 'fsr-wsss[voc]'. What is there already is left alone, so that the same command goes on
after an interruption.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "--voc", type=Path, required=True, help="VOC2012, or a folder above it (required)"
    )
    parser.add_argument(
        "--sbd", type=Path, required=True, help="SBD, or a folder above it (required)"
    )
    parser.add_argument(
        "--workers",
        type=count,
        default=0,
        metavar="N",
        help="processes that write masks (default: 0, write in this one)",
    )
    parser.add_argument("--download", action="store_true", help="fetch both into these folders")
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Build the set; return the exit status."""
    options = build_parser(prog).parse(argv)
    return guarded(prog, lambda: _build(options), again="the same command goes on")


def _build(options: argparse.Namespace) -> int:
    """Build the set, and compare its size with that of papers."""
    voc, sbd = options.voc.expanduser(), options.sbd.expanduser()
    if options.download:
        download_archives(voc, sbd)
    with Progress(0, "masks") as progress:
        built = build_train_aug(voc, sbd, workers=options.workers, progress=progress.set)
    print(f"{built.written} masks written")
    for split, images in built.counts.items():
        known = VOC_IMAGES[split]
        note = "as in papers" if images == known else f"papers have {known:,}"
        print(f"{split:10}{images:>7,} images ({note})")
    return DONE
