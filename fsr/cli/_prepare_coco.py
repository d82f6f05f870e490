"""``fsr prepare coco``: counts, missing images, masks and tables of labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fsr.cli._outcome import BAD_INPUT, DONE, complain, guarded
from fsr.cli._parser import Parser
from fsr.cli._progress import Progress
from fsr.cli._types import count
from fsr.data import (
    COCO2014,
    COCO_IMAGES,
    coco_splits,
    download_coco,
    find_coco_root,
    label_table,
    missing_images,
    write_labels,
    write_masks,
)

SUMMARY = "Look over MS COCO 2014, and draw its masks."
NOTES = """
  fsr prepare coco --root coco                     # counts, and what is missing
  fsr prepare coco --root coco --download          # fetches 19 GB first
  fsr prepare coco --root coco --masks coco/masks --workers 4

The masks are palette PNGs, for COCO2014(root, split, cache="coco/masks") and data.cache of the
trainer; they need not be drawn beforehand. What is there already is left alone, so that the same
command goes on after an interruption. --labels writes the image-level labels of each split as a
table for fsr.data.FolderDataset. Needs pycocotools: pip install 'fsr-wsss[coco]'. Missing images
make the exit status 1.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "--root", type=Path, required=True, help="COCO, or the folder above it (required)"
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="train, val, or both (default: all that are there)",
    )
    parser.add_argument(
        "--masks", type=Path, metavar="FOLDER", help="draw all masks into it (default: draw none)"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FOLDER", help="write tables of labels (default: none)"
    )
    parser.add_argument(
        "--workers",
        type=count,
        default=0,
        metavar="N",
        help="processes that draw masks (default: 0, draw in this one)",
    )
    parser.add_argument("--download", action="store_true", help="fetch the official archives")
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Prepare COCO; return the exit status."""
    options = build_parser(prog).parse(argv)
    for name in ("root", "masks", "labels"):
        path = getattr(options, name)
        setattr(options, name, path and path.expanduser())
    return guarded(prog, lambda: _prepare(options, prog), again="the same command goes on")


def _prepare(options: argparse.Namespace, prog: str) -> int:
    """Look over all splits; return the exit status."""
    if options.download:
        download_coco(options.root, options.splits or tuple(COCO_IMAGES))
    root = find_coco_root(options.root)
    splits = options.splits or coco_splits(root) or ("train",)
    missing = sum(_look_over(options, root, split) for split in splits)
    if missing:
        complain(prog, f"{missing} image files are missing")
        return BAD_INPUT
    return DONE


def _look_over(options: argparse.Namespace, root: Path, split: str) -> int:
    """Report a split and write what was asked for; return the number of missing images."""
    print(f"reading {split} ...", file=sys.stderr)
    wants_masks = options.masks is not None
    dataset = COCO2014(root, split, masks=wants_masks, cache=options.masks)
    images, missing = len(dataset), missing_images(dataset)
    known = COCO_IMAGES.get(split, images)
    note = "as in papers" if images == known else f"papers have {known:,}"
    print(f"{split:8}{images:>9,} images with annotations ({note})")
    print(f"{'':8}{dataset.without_annotations:>9,} without, left out")
    print(f"{'':8}{len(dataset.class_names):>9,} classes")
    if dataset.unused_categories:
        listed = ", ".join(map(repr, dataset.unused_categories))
        print(f"{'':18}left out {listed}, which no annotation has and which stands for no class")
    if missing:
        print(f"{'':8}{len(missing):>9,} image files are not there, the first: {missing[0]}")
    if wants_masks:
        with Progress(images, "masks") as progress:
            written = write_masks(dataset, workers=options.workers, progress=progress.set)
        print(f"{'':8}{written:>9,} masks drawn into {options.masks / f'{split}2014'}")
    if options.labels is not None:
        path = options.labels / f"labels-{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = label_table(dataset)
        write_labels(path, table.rows, table.class_names, form="onehot")
        print(f"{'':17} labels written to {path}")
    return len(missing)
