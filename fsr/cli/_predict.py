"""``fsr predict``: masks, overlays and probabilities of image files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from fsr._core.outputs import FullDisk, check_output, is_full
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
from fsr.cli._types import count, positive_float
from fsr.data import Reading, read_label_map, read_labels
from fsr.errors import DataError
from fsr.formats import LabelledImage
from fsr.inference import (
    ImageFile,
    Prediction,
    PredictionFolder,
    check_apart,
    check_decoder,
    check_own,
    describe,
    file_hash,
    predict_paths,
    search_images,
    versions,
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
    parser.add_argument("checkpoint", type=Path, help="network file, as training writes them")
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
        default=1024,
        metavar="PIXELS",
        help="longer side that larger images are shrunk to for the network, 0 for never "
        "(default: 1024); masks have the image's own size all the same",
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
    model = SingleStageSegmenter.load(options.checkpoint)
    check_decoder(model)  # before anything is written
    names = model.class_names or tuple(f"class{i}" for i in range(1, model.num_classes + 1))
    check_own(options.output)
    found = search_images(options.paths, output=options.output)
    files = found.files
    for line in found.left_out:
        print(f"left out: {line}")
    labels = None
    if options.labels is not None:
        table = read_labels(options.labels, class_names=names)
        labels = {row.image: row.labels for row in table.rows}
    crf = build_crf(options, stack)
    check_apart(files, options.output)
    folder = stack.enter_context(
        PredictionFolder.open(
            options.output,
            _settings(options, crf),
            class_names=names,
            overlays=options.overlay,
            probabilities=options.probabilities,
            **reading_of(options),
        )
    )
    todo = folder.missing(files, anew=not options.resume)
    print(f"{len(files)} images, {len(files) - len(todo)} of them done before")
    failed = list(found.failed)
    if todo:
        results = predict_paths(
            model,
            todo,
            labels=labels,
            class_names=names,
            crf=crf,
            probabilities=options.probabilities,
            batch_size=options.batch_size,
            num_workers=options.workers,
            device=device_of(options),
            autocast=AUTOCAST[options.autocast],
            **_arguments(options),
            **reading_of(options),
        )
        wrong = _write(folder, results, len(todo))
        print(f"{len(todo) - len(wrong)} images segmented into {options.output}")
        failed += wrong
    masks = partial(_masks, options.output / "masks", files, len(names))
    return failed + write_formats(options, options.output / "annotations", masks, names)


def _masks(folder: Path, files: Sequence[ImageFile], num_classes: int) -> Iterator[LabelledImage]:
    """Yield the images that have a mask, those of earlier runs included."""
    for path, name in files:
        mask = folder / f"{name}.png"
        if mask.is_file():
            # Predictions have the size of their images, which were read.
            labels = read_label_map(mask, num_classes, max_pixels=1 << 62)
            yield LabelledImage(image_of(name, path.suffix), labels)


def _write(folder: PredictionFolder, results: Iterable[Prediction], total: int) -> list[str]:
    """Write all results; return what went wrong: the others go on while there is room."""
    failed, full = [], FullDisk()
    with Progress(total) as progress:
        for result in results:
            said = result.error
            if said is None:
                said, no_room = _written(folder, result)
                full.count(said if no_room else None)
            if said is not None:
                failed.append(said)
            progress.update()
    return failed


def _written(folder: PredictionFolder, result: Prediction) -> tuple[str | None, bool]:
    """Write the files of one result; return what went wrong, and whether room was wanting."""
    try:
        folder.write(result)
    except (DataError, OSError) as error:
        return str(error), is_full(error)
    return None, False


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what both the function and the record of the settings are given, but the reading."""
    return {
        "scales": options.scales,
        "flip": not options.no_flip,
        "max_size": options.max_size or None,
    }


def _settings(options: argparse.Namespace, crf: Any) -> dict[str, Any]:
    """Return what makes a result, for the record beside the results."""
    reading = Reading(**reading_of(options))
    return {
        **_arguments(options),
        "orient": reading.orient,
        # Folders of earlier releases have no such settings.
        **({"background": reading.background} if reading.background != "white" else {}),
        **({"bits": reading.bits} if reading.bits is not None else {}),
        "labels": None if options.labels is None else file_hash(options.labels),
        "crf": None if crf is None else describe(getattr(crf, "crf", crf)),
        "autocast": options.autocast,
        "checkpoint": str(options.checkpoint.resolve()),
        "checkpoint_sha256": file_hash(options.checkpoint),
        "versions": versions(),
    }
