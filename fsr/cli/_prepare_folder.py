"""``fsr prepare folder``: the table of labels, from folders, masks or files of annotation tools."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fsr.cli._outcome import DONE, guarded
from fsr.cli._parser import Parser
from fsr.cli._photographs import add_max_pixels
from fsr.cli._types import count
from fsr.data import (
    FORMS,
    LabelTable,
    labels_from_coco,
    labels_from_cvat,
    labels_from_folders,
    labels_from_labelstudio,
    labels_from_masks,
    labels_from_voc,
    labels_from_yolo,
    split_table,
    uneven_classes,
    write_labels,
)
from fsr.errors import DataError

SUMMARY = "Make the table of labels for a folder of your own images."
NOTES = """
  fsr prepare folder folders IMAGES --output labels.csv        # a folder per class
  fsr prepare folder voc-xml ANNOTATIONS --output labels.csv   # VOC's boxes
  fsr prepare folder coco-json FILE --output labels.csv        # COCO's annotations
  fsr prepare folder cvat-xml FILE --output labels.csv         # "CVAT for images 1.1"
  fsr prepare folder labelstudio-json FILE --output labels.csv # Label Studio's "JSON"
  fsr prepare folder yolo FOLDER --output labels.csv           # data.yaml and labels/*.txt
  fsr prepare folder masks MASKS --classes cat dog --output labels.csv

With --val 0.2 a fifth of the images, drawn with --seed, goes to a second table beside the first,
labels-val.csv.
"""
SOURCES = ("folders", "voc-xml", "coco-json", "cvat-xml", "labelstudio-json", "yolo", "masks")
# Sources that have no options of their own.
PLAIN = {
    "cvat-xml": labels_from_cvat,
    "labelstudio-json": labels_from_labelstudio,
    "yolo": labels_from_yolo,
}
# Options that one source alone has.
ONLY = {"filename": "voc-xml", "merge": "coco-json", "strip_folders": "coco-json"}


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument("source", choices=SOURCES, help="what the labels are made from")
    parser.add_argument("path", type=Path, help="folder, or the JSON or XML file")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="CSV", help="table to write (required)"
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="masks: names of labels 1, 2, ...; other annotations: classes to keep, in order "
        "(default: all)",
    )
    parser.add_argument(
        "--form",
        choices=FORMS,
        default="onehot",
        help="a column per class, or one column of names (default: onehot, which keeps the order)",
    )
    parser.add_argument(
        "--val",
        type=float,
        metavar="SHARE",
        help="share of the images for a second table (default: none, one table)",
    )
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of the split (default: 0)"
    )
    add_max_pixels(parser)
    parser.add_argument(
        "--filename",
        action="store_true",
        help="voc-xml: take the image that <filename> names (default: the name of the XML)",
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="coco-json: take categories of one name for one class (default: refuse them)",
    )
    parser.add_argument(
        "--strip-folders",
        action="store_true",
        help="coco-json: take the last part of each file_name (default: all of its path)",
    )
    parser.add_argument(
        "--allow-contradictions",
        action="store_true",
        help="masks: take those whose palette has a colour at 0 and black at a class",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace tables that exist")
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Make the table; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    if options.source == "masks" and not options.classes:
        parser.error("masks: expected --classes NAME ..., the names of labels 1, 2, ...")
    if options.classes and options.source == "folders":
        parser.error("--classes: the folders name the classes")
    for name, source in ONLY.items():
        if getattr(options, name) and options.source != source:
            parser.error(f"--{name.replace('_', '-')}: only for {source}, got {options.source}")
    if options.val is not None and not 0 < options.val < 1:
        parser.error(f"--val: expected a number between 0 and 1, got {options.val}")
    return guarded(prog, lambda: _make(options, prog))


def _make(options: argparse.Namespace, prog: str) -> int:
    """Make the table, or two of them, and say what they hold."""
    table = _build(options)
    output = options.output.expanduser()
    tables = {output: table}
    if options.val is not None:
        rest, part = split_table(table, options.val, options.seed)
        tables = {output: rest, output.with_name(f"{output.stem}-val.csv"): part}
    there = [path for path in tables if path.exists() and not options.overwrite]
    if there:
        raise DataError(f"{there[0]}: there is such a table; --overwrite replaces it")
    for path, each in tables.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_labels(path, each.rows, each.class_names, form=options.form)
        print(_describe(path, each))
    for note in (*table.notes, *_uneven(output, tables[output])):
        print(f"{prog}: note: {note}", file=sys.stderr)
    return DONE


def _build(options: argparse.Namespace) -> LabelTable:
    """Make the table from its source."""
    path, classes = options.path.expanduser(), options.classes
    if options.source == "folders":
        return labels_from_folders(path)
    if options.source in PLAIN:
        return PLAIN[options.source](path, classes)
    if options.source == "coco-json":
        return labels_from_coco(
            path, classes, merge=options.merge, strip_folders=options.strip_folders
        )
    if options.source == "voc-xml":
        return labels_from_voc(path, classes, filename=options.filename)
    return labels_from_masks(
        path,
        classes or (),
        allow_contradictions=options.allow_contradictions,
        max_pixels=options.max_pixels,
    )


def _uneven(path: Path, table: LabelTable) -> tuple[str, ...]:
    """Name the classes that all or none of the images to train on have."""
    labels = ([name in row.labels for name in table.class_names] for row in table.rows)
    return uneven_classes(labels, table.class_names, f"images of {path}")


def _describe(path: Path, table: LabelTable) -> str:
    """Say what a table holds."""
    counts = Counter(name for row in table.rows for name in row.labels)
    lines = [f"{path}: {len(table.rows)} images, {len(table.class_names)} classes"]
    lines += [f"  {name:24}{counts[name]:>6}" for name in table.class_names]
    without = sum(not row.labels for row in table.rows)
    return "\n".join([*lines, *([f"  {'(no class)':24}{without:>6}"] if without else [])])
