"""``fsr evaluate``: CAM, pseudo label, prediction, prediction + dense CRF, in one pass."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fsr._core.distributed import is_main_process
from fsr._core.outputs import check_output
from fsr.cli._crf import add_crf_arguments, build_crf
from fsr.cli._dataset import add_dataset_arguments, build_dataset, check_classes
from fsr.cli._outcome import BAD_INPUT, DONE, guarded
from fsr.cli._parser import Parser
from fsr.cli._processes import join_processes
from fsr.cli._progress import Progress
from fsr.cli._results import COUNTS, take_output, write_results
from fsr.cli._running import AUTOCAST, add_running_arguments, device_of
from fsr.cli._types import fraction, positive_float, positive_int
from fsr.data import check_masks
from fsr.inference import (
    EvaluationResult,
    PseudoLabelOptions,
    evaluate,
    result_table,
)
from fsr.metrics import WIDTHS
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter

SUMMARY = "Score a trained network on a data set."
NOTES = """
  fsr evaluate runs/scenes/student.safetensors --dataset scenes
  fsr evaluate model.safetensors --dataset voc --root VOCdevkit --split val
      --pseudo --crf pydensecrf --crf-workers 8 --sweep --trimap --output results
  fsr evaluate model.safetensors --dataset folder --root IMAGES --labels val.csv --masks MASKS
  torchrun --nproc_per_node 4 -m fsr evaluate ...            # each takes a share

One pass over the data, images at their own size, one confusion matrix per map. With --output the
scores go to results.json, with everything that changes a number, and the counts are kept there, so
that the same command goes on after an interruption. Scores of an earlier run are called
results.before.json until the new ones are there.
"""


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument("checkpoint", type=Path, help="network file, as training writes them")
    parser.add_argument(
        "--output", type=Path, help="folder of results.json and the plot (default: none)"
    )
    add_dataset_arguments(parser)
    _add_map_arguments(parser)
    add_crf_arguments(parser)
    add_running_arguments(parser)
    parser.add_argument(
        "--max-images",
        type=positive_int,
        metavar="N",
        help="the first N of the data set (default: all)",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="go on without broken samples, and list them"
    )
    parser.add_argument(
        "--allow-contradictions",
        action="store_true",
        help="score masks that hold other classes than the labels of their images name",
    )
    return parser


def _add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which maps are made and scored."""
    group = parser.add_argument_group("maps")
    for name, default, what in (
        ("--scales", [1.0, 1.25, 1.5], "image scales of predictions"),
        ("--cam-scales", [1.0, 0.5, 1.5], "image scales of activation maps"),
    ):
        listed = " ".join(f"{scale:g}" for scale in default)
        group.add_argument(
            name,
            nargs="+",
            type=positive_float,
            default=default,
            metavar="SCALE",
            help=f"{what} (default: {listed})",
        )
    group.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    group.add_argument(
        "--image-size",
        type=positive_int,
        metavar="PIXELS",
        help="squash images to this square (default: their own size)",
    )
    group.add_argument(
        "--cam-threshold",
        type=fraction,
        default=0.5,
        metavar="SCORE",
        help="activation up to which a pixel is background (default: 0.5)",
    )
    group.add_argument("--sweep", action="store_true", help="score CAM thresholds 0.01 to 0.99")
    group.add_argument("--pseudo", action="store_true", help="score pseudo labels (PAR)")
    group.add_argument(
        "--low",
        type=fraction,
        default=0.25,
        metavar="SCORE",
        help="of pseudo labels: up to this a pixel is background (default: 0.25)",
    )
    group.add_argument(
        "--high",
        type=fraction,
        default=0.7,
        metavar="SCORE",
        help="of pseudo labels: above this a pixel takes its class (default: 0.7)",
    )
    group.add_argument("--trimap", action="store_true", help="score 1 to 20 px from boundaries")


def main(argv: Sequence[str], prog: str) -> int:
    """Score a network; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    if not options.low < options.high:
        parser.error(f"--low: expected less than --high {options.high}, got {options.low}")

    def work() -> int:
        if options.output is not None:
            check_output(options.output)
        with ExitStack() as stack:
            return _run(options, stack)

    return guarded(prog, work, again="the same command goes on")


def _run(options: argparse.Namespace, stack: ExitStack) -> int:
    """Evaluate and report; return the exit status."""
    network = SingleStageSegmenter.load(options.checkpoint)
    dataset = build_dataset(options, masks=True, class_names=network.class_names)
    check_classes(network, dataset, options.checkpoint)
    join_processes(stack)
    _check_masks(options, dataset)
    crf = build_crf(options, stack)
    if options.output is not None:
        take_output(options.output, stack)
    progress = stack.enter_context(Progress(0, "images", shown=is_main_process()))
    result = _score(options, network, dataset, crf, progress)
    if is_main_process():
        for message in result.failed:
            print(f"skipped: {message}", file=sys.stderr)
        print(result_table(result, dataset.class_names))
        if options.output is not None:
            write_results(options, dataset, result, crf)
    return BAD_INPUT if result.skipped else DONE


def _check_masks(options: argparse.Namespace, dataset: Any) -> None:
    """Compare masks with labels before hours of work; the main process says what is odd."""
    main = is_main_process()
    lines = check_masks(
        dataset,
        allow=options.allow_contradictions,
        option="--allow-contradictions",
        size=options.max_images,
        show=(lambda table: print(table, file=sys.stderr)) if main else None,
    )
    for line in lines if main else ():
        print(f"WARNING: {line}", file=sys.stderr)


def _score(
    options: argparse.Namespace,
    network: SingleStageSegmenter,
    dataset: Any,
    crf: Any,
    progress: Progress,
) -> EvaluationResult:
    """Call the function that this command is the face of."""
    return evaluate(
        network,
        dataset,
        device=device_of(options),
        image_size=options.image_size,
        scales=options.scales,
        cam_scales=options.cam_scales,
        flip=not options.no_flip,
        cam_threshold=_thresholds(options),
        max_images=options.max_images,
        batch_size=options.batch_size,
        num_workers=options.workers,
        crf=crf,
        pseudo=PseudoLabelOptions(PAR(), options.low, options.high) if options.pseudo else None,
        trimap_widths=WIDTHS if options.trimap else (),
        on_error="skip" if options.skip_broken else "raise",
        autocast=AUTOCAST[options.autocast],
        state=None if options.output is None else options.output / COUNTS,
        progress=progress.set,
    )


def _thresholds(options: argparse.Namespace) -> list[float]:
    """Return the CAM thresholds, the one to report first."""
    chosen = options.cam_threshold
    swept = [step / 100 for step in range(1, 100)] if options.sweep else []
    return [chosen, *(value for value in swept if value != chosen)]
