"""Turn image-level labels into label maps that a fully supervised trainer learns from.

    python examples/export_pseudo_labels.py model.safetensors --dataset voc --root VOCdevkit \
        --split train_aug --output VOCdevkit_pseudo/VOCdevkit/VOC2012 --confidence 0.7
    python examples/export_pseudo_labels.py ... --source cam+par --low 0.25 --high 0.7
    torchrun --nproc_per_node 4 examples/export_pseudo_labels.py ...     # each takes a share

The output folder is laid out as VOC 2012: `SegmentationClass/NAME.png` with 255 where the label is
uncertain, `JPEGImages`, `ImageSets/Segmentation/train.txt`; `settings.json` holds all that changes
a label. The same command goes on after an interruption; other settings need another folder.

Exit status: 0 done, 1 something cannot be read (the other samples are done all the same), 2 an
option is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from crf_options import add_crf_arguments, build_crf
from dataset_options import add_dataset_arguments, build_dataset
from option_types import count, fraction, positive_float, positive_int
from processes import join_processes
from progress import Progress

from fsr.inference import LabelSource, export_pseudo_labels, file_hash
from fsr.segmenter import SingleStageSegmenter

BAD_INPUT, INTERRUPTED = 1, 130
AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Turn image-level labels into label maps.", allow_abbrev=False
    )
    parser.add_argument("checkpoint", type=Path, help="file of SingleStageSegmenter.save")
    add_dataset_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--source",
        choices=("prediction", "cam", "cam+par"),
        default="prediction",
        help="what the labels come from (default: prediction)",
    )
    parser.add_argument(
        "--confidence", type=fraction, help="probability below which a pixel becomes 255"
    )
    parser.add_argument("--low", type=fraction, help="CAM scores up to this are background")
    parser.add_argument("--high", type=fraction, help="CAM scores above this take their class")
    parser.add_argument("--threshold", type=fraction, help="one border of a CAM instead")
    parser.add_argument(
        "--scales",
        nargs="+",
        type=positive_float,
        help="image scales (default: 1.0 1.25 1.5, of CAMs 1.0 0.5 1.5)",
    )
    parser.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    parser.add_argument(
        "--max-size",
        type=count,
        default=0,
        help="longer side that larger images are shrunk to for the network (default: 0, never)",
    )
    add_crf_arguments(parser)
    parser.add_argument(
        "--images",
        choices=("none", "link", "copy"),
        default="link",
        help="JPEGImages: symbolic links (default), copies, or none",
    )
    parser.add_argument("--list", default="train", help="name of the list (default: train)")
    parser.add_argument("--batch-size", type=positive_int, default=1, help="images read at once")
    parser.add_argument("--workers", type=count, default=0, help="processes that read images")
    parser.add_argument("--device", help="cpu, cuda, ... (default: cuda if there is one)")
    parser.add_argument("--autocast", choices=AUTOCAST, default="none", help="default: none")
    options = parser.parse_args(argv)
    if options.confidence is not None and options.source != "prediction" and options.crf == "none":
        parser.error("--confidence: a CAM has no probabilities without --crf; use --low and --high")
    try:
        LabelSource(options.source, low=options.low, high=options.high, threshold=options.threshold)
    except ValueError as error:
        parser.error(str(error))
    return options


def export(options: argparse.Namespace, stack: ExitStack) -> Sequence[str]:
    """Write the labels; return what went wrong."""
    rank = join_processes(stack)
    model = SingleStageSegmenter.load(options.checkpoint)
    dataset = build_dataset(options, masks=False, class_names=model.class_names)
    device = options.device or (f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    scales = {}
    if options.scales:
        scales["scales" if options.source == "prediction" else "cam_scales"] = options.scales
    progress = stack.enter_context(Progress(len(dataset), shown=rank == 0))
    result = export_pseudo_labels(
        model,
        dataset,
        options.output,
        source=options.source,
        confidence=options.confidence,
        low=options.low,
        high=options.high,
        threshold=options.threshold,
        **scales,
        flip=not options.no_flip,
        crf=build_crf(options, stack, "test" if options.source == "prediction" else "labels"),
        max_size=options.max_size or None,
        images=options.images,
        split=options.list,
        settings={
            "checkpoint": str(options.checkpoint.resolve()),
            "checkpoint_sha256": file_hash(options.checkpoint),
        },
        on_error="skip",
        batch_size=options.batch_size,
        num_workers=options.workers,
        device=device,
        autocast=AUTOCAST[options.autocast],
        progress=progress.set,
    )
    if rank > 0:
        return ()
    print(f"{result.written} masks written into {options.output}, {result.kept} were there before")
    return result.failed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    options = parse_arguments(argv)
    try:
        with ExitStack() as stack:
            failed = export(options, stack)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(f"export_pseudo_labels.py: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("export_pseudo_labels.py: interrupted; run it again to go on", file=sys.stderr)
        return INTERRUPTED
    for message in failed:
        print(f"export_pseudo_labels.py: error: {message}", file=sys.stderr)
    return BAD_INPUT if failed else 0


if __name__ == "__main__":
    sys.exit(main())
