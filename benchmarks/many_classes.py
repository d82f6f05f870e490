"""What prediction and evaluation cost with 20 and with 1,000 classes, taking turns.

    python benchmarks/many_classes.py                   # this machine
    python benchmarks/many_classes.py --quick           # tiny: does everything run?

A prediction is one photograph of 500x375 at scales 1, 1.25 and 1.5 with its mirror images, from the
decoded image to its label map. An evaluation scores one such photograph of two classes: class
logits, prediction and both CAMs, at those scales and at 1, 0.5 and 1.5. Weights are random, so that
no class is far above the others, as one is of a trained network: the harder case. Each side lives
in a process of its own; memory is its peak less what it held after its imports.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _children import alternate, serve, start_serving, times_faster, variants
from _machine import machine, peak_bytes, write_json
from inference import SCALES, photographs

TASKS = ("prediction", "evaluation")


def child(options: argparse.Namespace) -> None:
    """Serve predictions or evaluations to the parent process."""
    serving = start_serving(options.threads, "fp32")
    device = torch.device(options.device)
    import fsr.inference  # noqa: F401  # what an import costs is not the step's
    from fsr import SingleStageSegmenter

    base = peak_bytes(device)
    torch.manual_seed(0)
    network = SingleStageSegmenter(
        options.classes,
        options.backbone,
        image_size=448,
        projection_dim=options.projection_dim,
        backbone_options={"class_token": False, "global_pool": ""},
    ).to(device)
    step = (predicting if options.child == "prediction" else evaluating)(network, options)
    print(f"{options.child}: {step()} labels", file=sys.stderr)
    serve(serving, device, step, base)


def predicting(network: Any, options: argparse.Namespace) -> Callable[[], int]:
    """Return what predicts a photograph and counts its labels."""
    from fsr.inference import Predictor

    predictor = Predictor(network, scales=SCALES)
    picture = photographs(options, 1)[0]
    return lambda: len(predictor(picture).mask.unique())


def evaluating(network: Any, options: argparse.Namespace) -> Callable[[], int]:
    """Return what evaluates a photograph and counts the labels that it finds."""
    from PIL import Image

    from fsr.data import Sample
    from fsr.inference import evaluate

    pixels = photographs(options, 1)[0]
    labels = torch.zeros(options.classes)
    labels[[0, options.classes - 1]] = 1.0
    target = torch.zeros(pixels.shape[1:], dtype=torch.long)
    target[: len(target) // 2] = options.classes
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    sample = Sample(picture, labels, target, "photograph")

    def step() -> int:
        confusion = evaluate(network, [sample], scales=SCALES).confusion
        return 0 if confusion is None else int((confusion.sum(dim=0) > 0).sum())

    return step


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every task costs by number of classes, and the ratios to the first."""
    tasks = {}
    for task in options.tasks:
        commands = {str(count): command(options, task, count) for count in options.class_counts}
        with variants(__file__, commands) as running:
            alternate(running, options.steps)
            rows = {each.name: each.row() for each in running}
        first = rows[str(options.class_counts[0])]
        for row in rows.values():
            row["time_ratio"] = times_faster(first, row)
            row["memory_ratio"] = row["memory_bytes"] / first["memory_bytes"]
        tasks[task] = rows
    return {
        "what": "one photograph of 500x375 at 3 scales with flips, by number of classes",
        "options": {"backbone": options.backbone},
        "threads": options.threads,
        "quick": options.quick,
        "machine": machine(torch.device(options.device)),
        "tasks": tasks,
    }


def command(options: argparse.Namespace, task: str, count: int) -> list[str]:
    """Return the command line of a side."""
    return [
        *("--child", task, "--classes", str(count), "--threads", str(options.threads)),
        *("--device", options.device, "--backbone", options.backbone),
        *("--projection-dim", str(options.projection_dim), *["--quick"] * options.quick),
    ]


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    return "\n".join(
        f"{task:12}{count:>6} classes{row['median_seconds']:>9.3f} s{row['time_ratio']:>7.2f}x"
        f"{row['memory_bytes'] / 2**20:>8.0f} MiB{row['memory_ratio']:>7.2f}x"
        for task, rows in result["tasks"].items()
        for count, row in rows.items()
    )


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--class-counts", nargs="+", type=int, default=[20, 1000])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--projection-dim", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="a tiny network and image")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--classes", type=int, default=20, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.backbone, options.projection_dim, options.steps = "vit_tiny_patch16_224", 64, 1
    if options.child:
        child(options)
        return 0
    result = measure(options)
    print(table(result))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
