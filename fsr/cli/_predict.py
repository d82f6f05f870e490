"""``fsr predict``: masks, overlays and probabilities of image files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fsr._core.outputs import check_output
from fsr.cli._crf import add_crf_arguments, build_crf
from fsr.cli._formats import (
    add_format_arguments,
    check_formats,
    image_of,
    require_formats,
    write_formats,
)
from fsr.cli._outcome import BAD_INPUT, DONE, complain, guarded
from fsr.cli._parser import Parser
from fsr.cli._photographs import add_photograph_arguments, reading_of
from fsr.cli._progress import Progress
from fsr.cli._running import AUTOCAST, add_running_arguments, device_of
from fsr.cli._types import count, positive_float, positive_int
from fsr.data import read_label_map, read_labels
from fsr.formats import LabelledImage
from fsr.inference import (
    Found,
    ImageFile,
    PredictionOptions,
    check_decoder,
    check_own,
    file_hash,
    find_network,
    made_by_file,
    predict_folder,
)
from fsr.segmenter import SingleStageSegmenter

SUMMARY = "Segment image files and folders of them."
NOTES = """
  fsr predict runs/scenes/teacher.safetensors photographs --output masks --overlay
  fsr predict model.safetensors a.jpg b.png --output masks --labels labels.csv
  fsr predict model.safetensors photographs --output masks --format cvat --polygons --simplify 1

The output folder gets masks/NAME.png (label indices in VOC's colours) and classes.txt (label n in
line n + 1); with --overlay also overlays/NAME.jpg, with --probabilities also
probabilities/NAME.npz, with --format coco cvat labelstudio yolo also files for annotation tools in
annotations. NAME is the path inside the folder given, less the suffix. Photographs are
turned upright as their EXIF data say, what is transparent is white, and of an animation the first
image is taken. Results of this command are never taken for images. Files of an earlier run with the
same settings are replaced, or kept with --resume where they are whole and of the same image, so
that only what is missing is done; a folder with results of other settings, or that another run
writes to, is refused.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="network",
        help="network file, folder of a run (the network that its last evaluation scored higher), "
        "or user/name on the Hugging Face hub",
    )
    parser.add_argument("paths", nargs="+", type=Path, help="image files and folders")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to (required)")
    parser.add_argument("--overlay", action="store_true", help="write overlays too")
    parser.add_argument("--probabilities", action="store_true", help="write float16 npz files too")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep what an earlier run made of the same images and wrote to the end",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="image-level labels, columns image,labels (cat;dog) or image and one 0/1 column per "
        "class: other classes cannot win a pixel (default: none, all classes compete)",
    )
    parser.add_argument(
        "--scales",
        nargs="+",
        type=positive_float,
        default=[1.0, 1.25, 1.5],
        metavar="SCALE",
        help="image scales (default: 1 1.25 1.5)",
    )
    parser.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    parser.add_argument(
        "--max-size",
        type=count,
        metavar="PIXELS",
        help="longer side that larger images are shrunk to for the network, 0 for never "
        "(default: 1024, with --tile never); masks have the image's own size all the same",
    )
    parser.add_argument(
        "--tile",
        type=positive_int,
        metavar="PIXELS",
        help="cut larger images into tiles of at most this side, which the network and the CRF see "
        "one by one at the image's own size (default: images are seen whole)",
    )
    parser.add_argument(
        "--tile-overlap",
        type=count,
        metavar="PIXELS",
        help="what neighbouring tiles share at least; their probabilities are averaged there "
        "(default: a quarter of the tile)",
    )
    add_format_arguments(parser)
    add_photograph_arguments(parser, usual="they are")
    add_crf_arguments(parser)
    add_running_arguments(parser)
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Segment files; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    _check_size(parser, options)
    check_formats(options, parser)

    def work() -> int:
        require_formats(options)
        check_output(options.output)
        with ExitStack() as stack:
            failed = _predict(options, stack)
        for message in failed:
            complain(prog, message)
        return BAD_INPUT if failed else DONE

    return guarded(prog, work, again="--resume goes on")


def _predict(options: argparse.Namespace, stack: ExitStack) -> list[str]:
    """Write the results; return what went wrong."""
    checkpoint = find_network(options.checkpoint)
    model = SingleStageSegmenter.load(checkpoint)
    check_decoder(model)  # before labels are read and a pool of processes is started
    check_own(options.output)
    names = model.class_names or tuple(f"class{i}" for i in range(1, model.num_classes + 1))
    labels = None
    if options.labels is not None:
        table = read_labels(options.labels, class_names=names)
        labels = {row.image: row.labels for row in table.rows}
    screen = _Screen(stack)
    chosen = PredictionOptions(
        labels=labels,
        class_names=names,
        crf=build_crf(options, stack),
        probabilities=options.probabilities,
        batch_size=options.batch_size,
        num_workers=options.workers,
        device=device_of(options),
        autocast=AUTOCAST[options.autocast],
        scales=options.scales,
        flip=not options.no_flip,
        max_size=_max_size(options),
        tile=options.tile,
        tile_overlap=options.tile_overlap,
        progress=screen.tell,
        **reading_of(options),
    )
    run = predict_folder(
        model,
        options.paths,
        options.output,
        chosen,
        overlays=options.overlay,
        resume=options.resume,
        made_by=made_by_file(checkpoint, options.labels and file_hash(options.labels)),
        begin=screen.begin,
    )
    if screen.progress is not None:
        print(f"{run.done} images segmented into {options.output}")
    masks = partial(_masks, options.output / "masks", screen.files, len(names))
    return run.failed + write_formats(options, options.output / "annotations", masks, names)


def _masks(folder: Path, files: Sequence[ImageFile], num_classes: int) -> Iterator[LabelledImage]:
    """Yield the images that have a mask, those of earlier runs included."""
    for path, name in files:
        mask = folder / f"{name}.png"
        if mask.is_file():
            # Predictions have the size of their images, which were read.
            labels = read_label_map(mask, num_classes, max_pixels=1 << 62)
            yield LabelledImage(image_of(name, path.suffix), labels)


class _Screen:
    """Tells what there is to do, then how far it is.

    Args:
        stack: ends the progress.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.progress: Progress | None = None
        self.files: list[ImageFile] = []

    def begin(self, found: Found, todo: int) -> None:
        """Tell what was found, and how much of it is to be done."""
        for line in found.left_out:
            print(f"left out: {line}")
        self.files, total = found.files, len(found.files)
        print(f"{total} images, {total - todo} of them done before")
        if todo:
            self.progress = self.stack.enter_context(Progress(todo))

    def tell(self, done: int, total: int) -> None:
        """Tell how many are done."""
        if self.progress is not None:
            self.progress.set(done, total)


def _max_size(options: argparse.Namespace) -> int | None:
    """Return the longer side that images are shrunk to, None for never."""
    if options.max_size is None:
        return None if options.tile is not None else PredictionOptions().max_size
    return options.max_size or None


def _check_size(parser: Parser, options: argparse.Namespace) -> None:
    """End with status 2 unless the sizes go together."""
    try:
        if options.tile is not None and options.max_size:
            raise ValueError("max_size: expected none with tile, as tiles are seen at full size")
        PredictionOptions(tile=options.tile, tile_overlap=options.tile_overlap)
    except ValueError as error:
        name, _, rest = str(error).partition(":")
        parser.error(f"argument --{name.replace('_', '-')}:{rest}")
