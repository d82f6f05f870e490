"""What one training step costs as batch, image, classes and processes grow.

    python benchmarks/scaling.py                                 # every sweep, on this machine
    python benchmarks/scaling.py --sweeps size --image-sizes 256 448
    python benchmarks/scaling.py --preset reference --backbone vit_base_patch16_224
    python benchmarks/scaling.py --quick                         # tiny: does everything run?

A sweep changes one of the four and leaves the rest at the point that `--batch`, `--image-size` and
`--classes` name, with one process; the batch that processes share is the least that all of them
divide. Every point lives in a process of its own and is measured once,
even if several sweeps share it. Steps are timed after a warm-up of one; memory is the peak of the
process (of the largest, of several) less what it held after its imports. Images have two classes
each; the dense energy is off; the step is the one of `benchmarks/step.py`.

Several processes are DistributedDataParallel with the same batch in all: each has its share of the
images and of the threads, on the CPU over gloo, on GPUs one GPU each over NCCL. A point that fails,
such as one that runs out of memory, is recorded with its reason. Each row has the seconds per unit
of its sweep (image, patch, step), their ratio to the first that ran, and with one process the
seconds of the pieces of a step.
Image sizes are multiples of 64: `fast` and `reference` mask blocks of 4x4 patches of 16 pixels.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _children import alternate, serve, start_serving, variants
from _machine import machine, peak_bytes, write_json
from _together import leading
from step import OurStep

PATCH = 16
SHOWN = ("preset", "precision", "backbone", "projection_dim", "device", "threads", "steps")


class Point(NamedTuple):
    """Where a step is timed; `batch` is that of all processes together."""

    batch: int
    image_size: int
    classes: int
    processes: int


# Sweep: the field of `Point` that it changes, the unit of its seconds, and how many a step has.
SWEEPS: dict[str, tuple[str, str, Callable[[Point], int]]] = {
    "batch": ("batch", "image", lambda point: point.batch),
    "size": ("image_size", "patch", lambda point: (point.image_size // PATCH) ** 2 * point.batch),
    "classes": ("classes", "step", lambda point: 1),
    "processes": ("processes", "step", lambda point: 1),
}


def child(options: argparse.Namespace) -> None:
    """Serve steps of one point to the parent process."""
    serving = start_serving(options.threads, options.precision)
    if options.processes > 1:
        with leading(options) as member:
            device, base = member.device, member.base
            serve(serving, device, lambda: member.lead("step"), base, lambda: member.lead("more"))
        return
    import fsr.objective  # noqa: F401  # what an import costs is not the step's

    device = torch.device(options.device)
    base = peak_bytes(device)
    step = OurStep(options)
    serve(serving, device, step, base, lambda: {"pieces": step.pieces()})


def points(options: argparse.Namespace) -> dict[str, list[Point]]:
    """Return the points of every sweep that was asked for."""
    values = {
        "batch": options.batches,
        "size": options.image_sizes,
        "classes": options.class_counts,
        "processes": options.process_counts,
    }
    middle = Point(options.batch, options.image_size, options.classes, 1)
    shared = middle._replace(batch=math.lcm(options.batch, *options.process_counts))
    return {
        sweep: [
            (shared if sweep == "processes" else middle)._replace(**{SWEEPS[sweep][0]: value})
            for value in sorted(values[sweep])
        ]
        for sweep in options.sweeps
    }


def measure_point(point: Point, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a step costs at a point, or why that is not known."""
    if options.device == "cuda" and point.processes > max(1, torch.cuda.device_count()):
        return {"failure": f"not run: {torch.cuda.device_count()} GPUs"}
    arguments = [
        *("--child", "ours"),
        *("--preset", options.preset, "--precision", options.precision),
        *("--device", options.device, "--backbone", options.backbone),
        *("--projection-dim", str(options.projection_dim)),
        *("--threads", str(max(1, options.threads // point.processes))),
        *("--batch", str(point.batch // point.processes)),
        *("--image-size", str(point.image_size), "--classes", str(point.classes)),
        *("--processes", str(point.processes)),
    ]
    name = ", ".join(f"{field} {value}" for field, value in point._asdict().items())
    with variants(__file__, {name: arguments}, patience=lambda: options.limit) as (running,):
        alternate([running], options.steps)
        row = {**running.row(), **running.more()}
        if of_each := row.get("memory_of_processes"):
            row["memory_bytes"] = max(of_each)
    return row


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return every sweep; the result so far is written after every point."""
    result: dict[str, Any] = {
        "what": "one training step, dense energy off, as one thing grows",
        "options": {name: getattr(options, name) for name in SHOWN},
        "quick": options.quick,
        "machine": machine(torch.device(options.device)),
        "sweeps": {},
    }
    known: dict[Point, dict[str, Any]] = {}
    for sweep, wanted in points(options).items():
        _, unit, count = SWEEPS[sweep]
        rows: list[dict[str, Any]] = []
        result["sweeps"][sweep] = {"unit": unit, "points": rows}
        for point in wanted:
            if point not in known:
                known[point] = measure_point(point, options)
            row = {**point._asdict(), **known[point]}
            if "failure" not in row:
                row["seconds_per_unit"] = row["median_seconds"] / count(point)
            rows.append(row)
            first = next((each for each in rows if "failure" not in each), row)
            if "failure" not in row:
                row["ratio_per_unit"] = row["seconds_per_unit"] / first["seconds_per_unit"]
                row["memory_ratio"] = row["memory_bytes"] / max(first["memory_bytes"], 1)
            if options.output:
                write_json(options.output, result)
    return result


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    lines = []
    for sweep, found in result["sweeps"].items():
        unit = found["unit"]
        lines.append(f"{sweep:10}{'s a step':>10}{'MiB':>8}  {'ms a ' + unit:>12}  ratio  memory")
        for row in found["points"]:
            text = f"{row[SWEEPS[sweep][0]]:<10}"
            if "failure" in row:
                lines.append(f"{text}  {row['failure']}")
                continue
            text += f"{row['median_seconds']:>10.3f}{row['memory_bytes'] / 2**20:>8.0f}"
            text += f"  {1e3 * row['seconds_per_unit']:>12.3f}"
            lines.append(f"{text}  {row['ratio_per_unit']:>4.2f}x  {row['memory_ratio']:>5.2f}x")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--sweeps", nargs="+", default=list(SWEEPS), choices=list(SWEEPS))
    for name, values in (
        ("--batches", [1, 2, 4, 8]),
        ("--image-sizes", [256, 448, 640, 1024]),
        ("--class-counts", [20, 80, 1000]),
        ("--process-counts", [1, 2, 4]),
    ):
        parser.add_argument(name, nargs="+", type=int, default=values, help="points of a sweep")
    parser.add_argument("--batch", type=int, default=2, help="where the other sweeps are")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--projection-dim", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each point")
    parser.add_argument("--limit", type=float, default=1200, help="seconds a step may take at most")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a tiny network, image and sweep")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.compiled = options.energy = False
    if options.quick:
        options.backbone, options.projection_dim, options.steps = "vit_tiny_patch16_224", 64, 1
        options.image_size, options.image_sizes = 64, [64, 128]
        options.batches, options.class_counts = [1, 2], [20, 80]
    if options.child:
        child(options)
        return 0
    if options.steps < 1:
        parser.error(f"--steps {options.steps}: expected at least 1")
    result = measure(options)
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
