"""``fsr export``: label maps that a fully supervised trainer learns from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fsr._core.outputs import check_output
from fsr.cli._crf import add_crf_arguments, build_crf
from fsr.cli._dataset import add_dataset_arguments, build_dataset
from fsr.cli._outcome import BAD_INPUT, DONE, complain, guarded
from fsr.cli._parser import Parser
from fsr.cli._processes import join_processes
from fsr.cli._progress import Progress
from fsr.cli._running import AUTOCAST, add_running_arguments, device_of
from fsr.cli._types import count, fraction, positive_float
from fsr.inference import LabelSource, export_pseudo_labels, file_hash
from fsr.segmenter import SingleStageSegmenter

SUMMARY = "Turn image-level labels into label maps."
NOTES = """
  fsr export model.safetensors --dataset voc --root VOCdevkit --split train_aug
      --output VOCdevkit_pseudo/VOCdevkit/VOC2012 --confidence 0.7
  fsr export ... --source cam+par --low 0.25 --high 0.7
  torchrun --nproc_per_node 4 -m fsr export ...              # each takes a share

A fully supervised trainer learns from them. The output folder is laid out as VOC 2012:
SegmentationClass/NAME.png with 255 where the label is uncertain, JPEGImages,
ImageSets/Segmentation/train.txt; settings.json holds all that changes a label. The same command
goes on after an interruption, and makes anew what is not whole or whose image or labels changed;
other settings need another folder.

`fsr export onnx` and `fsr export pt2` write the network itself, for use without this package.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument("checkpoint", type=Path, help="network file, as training writes them")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to (required)")
    parser.add_argument(
        "--images",
        choices=("none", "link", "copy"),
        default="link",
        help="JPEGImages: symbolic links, copies, or none (default: link)",
    )
    parser.add_argument(
        "--list", default="train", metavar="NAME", help="name of the list (default: train)"
    )
    add_dataset_arguments(parser)
    _add_label_arguments(parser)
    add_crf_arguments(parser)
    add_running_arguments(parser)
    return parser


def _add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the labels come from, and where they are uncertain."""
    group = parser.add_argument_group("labels")
    group.add_argument(
        "--source",
        choices=("prediction", "cam", "cam+par"),
        default="prediction",
        help="what the labels come from (default: prediction)",
    )
    group.add_argument(
        "--confidence",
        type=fraction,
        metavar="P",
        help="probability below which a pixel becomes 255 (default: none does)",
    )
    for name, what in (
        ("--low", "of a CAM: scores up to this are background"),
        ("--high", "of a CAM: scores above this take their class"),
        ("--threshold", "of a CAM: one border, in place of --low and --high"),
    ):
        group.add_argument(name, type=fraction, metavar="SCORE", help=f"{what} (default: none)")
    group.add_argument(
        "--scales",
        nargs="+",
        type=positive_float,
        metavar="SCALE",
        help="image scales (default: 1.0 1.25 1.5, of CAMs 1.0 0.5 1.5)",
    )
    group.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write Certainty/NAME.png: 255 where labels hold when scores are scaled (URN)",
    )
    group.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    group.add_argument(
        "--max-size",
        type=count,
        default=0,
        metavar="PIXELS",
        help="longer side that larger images are shrunk to for the network (default: 0, never)",
    )


def main(argv: Sequence[str], prog: str) -> int:
    """Write label maps; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    if options.confidence is not None and options.source != "prediction" and options.crf == "none":
        parser.error("--confidence: a CAM has no probabilities without --crf; use --low and --high")
    try:
        LabelSource(options.source, low=options.low, high=options.high, threshold=options.threshold)
    except ValueError as error:
        parser.error(str(error))

    def work() -> int:
        check_output(options.output)
        with ExitStack() as stack:
            failed = _export(options, stack)
        for message in failed:
            complain(prog, message)
        return BAD_INPUT if failed else DONE

    return guarded(prog, work, again="the same command goes on")


def _export(options: argparse.Namespace, stack: ExitStack) -> Sequence[str]:
    """Write the labels; return what went wrong."""
    rank = join_processes(stack)
    model = SingleStageSegmenter.load(options.checkpoint)
    dataset = build_dataset(options, masks=False, class_names=model.class_names)
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
        uncertainty=options.uncertainty,
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
        device=device_of(options),
        autocast=AUTOCAST[options.autocast],
        progress=progress.set,
    )
    if rank > 0:
        return ()
    print(f"{result.written} masks written into {options.output}, {result.kept} were there before")
    return result.failed
