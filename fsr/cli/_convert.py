"""``fsr convert``: masks of any origin as files of annotation tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fsr._core.outputs import check_output
from fsr.cli._formats import (
    add_format_arguments,
    check_formats,
    image_of,
    known_suffix,
    require_formats,
    write_formats,
)
from fsr.cli._outcome import BAD_INPUT, DONE, complain, guarded
from fsr.cli._parser import Parser
from fsr.cli._photographs import add_max_pixels
from fsr.data import read_class_list, read_label_map
from fsr.errors import MissingDataError
from fsr.formats import LabelledImage

SUMMARY = "Write masks as files of annotation tools: COCO, CVAT, Label Studio, YOLO."
NOTES = """
  fsr convert predicted/masks --format coco --output annotations
  fsr convert pseudo/SegmentationClass --images photos --format cvat --polygons --output annotations

Masks are PNGs of class indices, as fsr predict and fsr export write them, or as people draw them.
The classes are those of --classes, or of a classes.txt or class_names.txt beside the masks or
above. What is 255 in a mask is left out. Needs the extra formats for COCO and for polygons.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument("masks", type=Path, help="folder of masks")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to (required)")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="folder of the images, for the endings of their names (default: all are .jpg)",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="names of labels 1, 2, ... (default: a list)"
    )
    add_format_arguments(parser, required=True)
    add_max_pixels(parser)
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Write the files; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    check_formats(options, parser)

    def work() -> int:
        require_formats(options)
        check_output(options.output)
        folder = options.masks.expanduser()
        if not folder.is_dir():
            raise MissingDataError(f"{folder}: expected a folder of masks, this is none")
        names = options.classes or _listed(folder)
        masks = sorted(folder.rglob("*.png"))
        if not masks:
            raise MissingDataError(f"{folder}: expected masks as PNG, found none")

        def images() -> Iterator[LabelledImage]:
            for path in masks:
                name = path.relative_to(folder).with_suffix("").as_posix()
                labels = read_label_map(path, len(names), max_pixels=options.max_pixels)
                file = image_of(name, known_suffix(options.images, name))
                yield LabelledImage(file, labels)

        print(f"{len(masks)} masks, {len(names)} classes")
        failed = write_formats(options, options.output, images, names)
        for message in failed:
            complain(prog, message)
        return BAD_INPUT if failed else DONE

    return guarded(prog, work)


def _listed(folder: Path) -> tuple[str, ...]:
    """Return the classes that a list beside the masks, or in the folder above, names."""
    for place in (folder, folder.parent):
        found = read_class_list(place)
        if found is not None:
            return found.names
    raise MissingDataError(
        f"{folder}: expected a list of the classes, classes.txt, beside the masks; "
        "--classes NAME ... names them"
    )
