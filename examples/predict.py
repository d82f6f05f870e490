"""Segment image files and folders of them with a trained model.

    python examples/predict.py runs/scenes/teacher.safetensors photographs --output masks --overlay
    python examples/predict.py model.safetensors a.jpg b.png --output masks --labels labels.csv

The output folder gets `masks/NAME.png` (label indices in VOC's colours) and `classes.txt` (label n
in line n + 1); with --overlay also `overlays/NAME.jpg`, with --probabilities also
`probabilities/NAME.npz`. NAME is the path inside the folder given, less the suffix. Photographs are
turned upright as their EXIF data say. Files of an earlier run with the same settings are replaced,
or kept with --resume, so that only what is missing is done; a folder with results of other settings
is refused.

Exit status: 0 done, 1 something cannot be read (the other images are done all the same), 2 an
option is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from crf_options import add_crf_arguments, build_crf
from option_types import count, positive_float, positive_int
from progress import Progress

from fsr.data import read_labels
from fsr.inference import (
    PredictionWriter,
    describe,
    file_hash,
    find_images,
    predict_paths,
    record_settings,
    versions,
)
from fsr.segmenter import SingleStageSegmenter

BAD_INPUT, INTERRUPTED = 1, 130
AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Segment image files and folders of them.", allow_abbrev=False
    )
    parser.add_argument("checkpoint", type=Path, help="file of SingleStageSegmenter.save")
    parser.add_argument("paths", nargs="+", type=Path, help="image files and folders")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="image-level labels, columns image,labels (cat;dog) or image and one 0/1 column per "
        "class: other classes cannot win a pixel",
    )
    parser.add_argument("--overlay", action="store_true", help="write overlays too")
    parser.add_argument("--probabilities", action="store_true", help="write float16 npz files too")
    parser.add_argument(
        "--scales",
        nargs="+",
        type=positive_float,
        default=[1.0, 1.25, 1.5],
        help="default: 1.0 1.25 1.5",
    )
    parser.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    parser.add_argument(
        "--max-size",
        type=count,
        default=1024,
        help="longer side that larger images are shrunk to for the network, 0 for never "
        "(default: 1024); masks have the image's own size all the same",
    )
    parser.add_argument("--as-stored", action="store_true", help="ignore the EXIF rotation")
    add_crf_arguments(parser)
    parser.add_argument(
        "--batch-size", type=positive_int, default=1, help="images of like size at once"
    )
    parser.add_argument("--workers", type=count, default=0, help="processes that read images")
    parser.add_argument("--device", help="cpu, cuda, ... (default: cuda if there is one)")
    parser.add_argument("--autocast", choices=AUTOCAST, default="none", help="default: none")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run wrote")
    return parser.parse_args(argv)


def predict(options: argparse.Namespace, stack: ExitStack) -> list[str]:
    """Write the results; return what went wrong."""
    model = SingleStageSegmenter.load(options.checkpoint)
    names = model.class_names or tuple(f"class{i}" for i in range(1, model.num_classes + 1))
    files = find_images(options.paths)
    labels = None
    if options.labels is not None:
        table = read_labels(options.labels, class_names=names)
        labels = {row.image: row.labels for row in table.rows}
    crf = build_crf(options, stack)
    arguments: dict[str, Any] = {
        "scales": options.scales,
        "flip": not options.no_flip,
        "max_size": options.max_size or None,
        "orient": not options.as_stored,
    }
    record_settings(
        options.output,
        {
            **arguments,
            "labels": None if labels is None else file_hash(options.labels),
            "crf": None if crf is None else describe(getattr(crf, "crf", crf)),
            "autocast": options.autocast,
            "checkpoint": str(options.checkpoint.resolve()),
            "checkpoint_sha256": file_hash(options.checkpoint),
            "versions": versions(),
        },
    )
    writer = PredictionWriter(
        options.output,
        names,
        overlays=options.overlay,
        probabilities=options.probabilities,
        orient=not options.as_stored,
    )
    todo = [file for file in files if not (options.resume and writer.complete(file.name))]
    print(f"{len(files)} images, {len(files) - len(todo)} of them done before")
    if not todo:
        return []
    failed = []
    with Progress(len(todo)) as progress:
        for result in predict_paths(
            model,
            todo,
            labels=labels,
            class_names=names,
            crf=crf,
            probabilities=options.probabilities,
            batch_size=options.batch_size,
            num_workers=options.workers,
            device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            autocast=AUTOCAST[options.autocast],
            **arguments,
        ):
            if result.error is None:
                writer.write(result)
            else:
                failed.append(result.error)
            progress.update()
    print(f"{len(todo) - len(failed)} images segmented into {options.output}")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    options = parse_arguments(argv)
    try:
        with ExitStack() as stack:
            failed = predict(options, stack)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(f"predict.py: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("predict.py: interrupted; --resume goes on", file=sys.stderr)
        return INTERRUPTED
    for message in failed:
        print(f"predict.py: error: {message}", file=sys.stderr)
    return BAD_INPUT if failed else 0


if __name__ == "__main__":
    sys.exit(main())
