"""Score a trained model on a data set: CAM, pseudo label, prediction, prediction + dense CRF.

    python examples/evaluate.py runs/scenes/student.safetensors --dataset scenes
    python examples/evaluate.py model.safetensors --dataset voc --root VOCdevkit --split val \
        --pseudo --crf pydensecrf --crf-workers 8 --sweep --trimap --output results
    python examples/evaluate.py model.safetensors --dataset folder --root IMAGES --labels val.csv \
        --masks MASKS
    torchrun --nproc_per_node 4 examples/evaluate.py ...             # each takes a share

One pass over the data, images at their own size, one confusion matrix per map. With --output the
scores go to `results.json`, with everything that changes a number, and the counts are kept there,
so that the same command goes on after an interruption.

Exit status: 0 done, 1 something cannot be read (with --skip-broken the others are done all the
same), 2 an option is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from crf_options import add_crf_arguments, build_crf
from dataset_options import add_dataset_arguments, build_dataset
from option_types import count, fraction, positive_float, positive_int
from processes import join_processes
from progress import Progress

from fsr._core.distributed import is_main_process
from fsr._core.files import whole_file
from fsr.inference import (
    EvaluationResult,
    PseudoLabelOptions,
    evaluate,
    file_hash,
    result_table,
    result_to_dict,
    versions,
)
from fsr.metrics import WIDTHS
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.visualize import plot_threshold_sweep

BAD_INPUT, INTERRUPTED = 1, 130
AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py", description="Score a trained model.", allow_abbrev=False
    )
    parser.add_argument("checkpoint", type=Path, help="file of SingleStageSegmenter.save")
    add_dataset_arguments(parser)
    parser.add_argument("--output", type=Path, help="folder of results.json and the plot")
    for name, default in (("--scales", [1.0, 1.25, 1.5]), ("--cam-scales", [1.0, 0.5, 1.5])):
        listed = " ".join(f"{scale:g}" for scale in default)
        parser.add_argument(
            name, nargs="+", type=positive_float, default=default, help=f"default: {listed}"
        )
    parser.add_argument("--no-flip", action="store_true", help="leave mirrored images out")
    parser.add_argument("--image-size", type=positive_int, help="squash images to this square")
    parser.add_argument("--cam-threshold", type=fraction, default=0.5, help="default: 0.5")
    parser.add_argument("--sweep", action="store_true", help="score CAM thresholds 0.01 to 0.99")
    parser.add_argument("--pseudo", action="store_true", help="score pseudo labels (PAR)")
    parser.add_argument("--low", type=fraction, default=0.25, help="of pseudo labels")
    parser.add_argument("--high", type=fraction, default=0.7, help="of pseudo labels")
    parser.add_argument("--trimap", action="store_true", help="score 1 to 20 px from boundaries")
    add_crf_arguments(parser)
    parser.add_argument("--max-images", type=positive_int, help="the first of the data set")
    parser.add_argument("--batch-size", type=positive_int, default=1)
    parser.add_argument("--workers", type=count, default=0, help="processes that read images")
    parser.add_argument("--device", help="cpu, cuda, ... (default: cuda if there is one)")
    parser.add_argument("--autocast", choices=AUTOCAST, default="none")
    parser.add_argument("--skip-broken", action="store_true", help="go on without broken samples")
    options = parser.parse_args(argv)
    if not options.low < options.high:
        parser.error(f"--low: expected less than --high {options.high}, got {options.low}")
    return options


def thresholds(options: argparse.Namespace) -> list[float]:
    """Return the CAM thresholds, the one to report first."""
    chosen = options.cam_threshold
    swept = [step / 100 for step in range(1, 100)] if options.sweep else []
    return [chosen, *(value for value in swept if value != chosen)]


def run(options: argparse.Namespace, stack: ExitStack) -> int:
    """Evaluate and report; return the exit status."""
    network = SingleStageSegmenter.load(options.checkpoint)
    dataset = build_dataset(options, masks=True, class_names=network.class_names)
    check_classes(network, dataset, options.checkpoint)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    join_processes(stack)
    main = is_main_process()
    crf = build_crf(options, stack)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    progress = stack.enter_context(Progress(0, "images", shown=main))
    result = evaluate(
        network,
        dataset,
        device=device,
        image_size=options.image_size,
        scales=options.scales,
        cam_scales=options.cam_scales,
        flip=not options.no_flip,
        cam_threshold=thresholds(options),
        max_images=options.max_images,
        batch_size=options.batch_size,
        num_workers=options.workers,
        crf=crf,
        pseudo=PseudoLabelOptions(PAR(), options.low, options.high) if options.pseudo else None,
        trimap_widths=WIDTHS if options.trimap else (),
        on_error="skip" if options.skip_broken else "raise",
        autocast=AUTOCAST[options.autocast],
        state=None if options.output is None else options.output / "counts.safetensors",
        progress=progress.set,
    )
    if main:
        print(result_table(result, dataset.class_names))
        if options.output is not None:
            write(options, network, dataset, result, crf)
    return BAD_INPUT if result.skipped else 0


def check_classes(network: SingleStageSegmenter, dataset: Any, checkpoint: Path) -> None:
    """Raise unless the model knows the classes of the data set, in its order."""
    names = tuple(dataset.class_names)
    if network.num_classes != len(names):
        raise ValueError(
            f"{checkpoint}: a model of {network.num_classes} classes, but the data set has "
            f"{len(names)}; give the data set that it was trained on"
        )
    if network.class_names is not None and tuple(network.class_names) != names:
        pairs = zip(network.class_names, names, strict=True)
        wrong = next(index for index, (one, other) in enumerate(pairs) if one != other)
        raise ValueError(
            f"{checkpoint}: class {wrong + 1} is {network.class_names[wrong]!r}, but the data set "
            f"has {names[wrong]!r} there; give the data set that it was trained on"
        )


def write(
    options: argparse.Namespace,
    network: SingleStageSegmenter,
    dataset: Any,
    result: EvaluationResult,
    crf: Any,
) -> None:
    """Write results.json, and the plot of a sweep."""
    given = {key: str(v) if isinstance(v, Path) else v for key, v in vars(options).items()}
    content = {
        **result_to_dict(result, dataset.class_names),
        "data": repr(dataset),
        "options": given,
        "crf": None if crf is None else repr(getattr(crf, "crf", crf)),
        "checkpoint": {"file": str(options.checkpoint), "sha256": file_hash(options.checkpoint)},
        "classes": network.num_classes,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "versions": versions(),
    }
    if result.skipped:
        names = getattr(dataset, "names", None)
        content["skipped_names"] = [names[i] if names else str(i) for i in result.skipped]
    with whole_file(options.output / "results.json") as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"{options.output / 'results.json'}")
    if options.sweep:
        plot = options.output / "cam_thresholds.png"
        plot_threshold_sweep(result.cam_sweep, plot, title=repr(dataset))
        print(f"{plot}")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; see the exit statuses at the top."""
    options = parse_arguments(argv)
    try:
        with ExitStack() as stack:
            return run(options, stack)
    except KeyboardInterrupt:
        print("evaluate.py: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        # A worker process puts the traceback into the message; its last line is the message.
        lines = [line for line in str(error).splitlines() if line.strip()]
        message = lines[-1] if lines else repr(error)
        print(f"evaluate.py: error: {message}", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
