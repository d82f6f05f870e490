"""Time one full training step, piece by piece, with memory; beside the released code if given.

    python benchmarks/step.py                                  # presets, float32, this machine
    python benchmarks/step.py --presets fast --precisions fp32 bf16 --compile
    python benchmarks/step.py --reference PATH                 # a clone of the released code
    python benchmarks/step.py --quick                          # tiny: does everything run?

Every variant lives in a process of its own; the processes take turns, one step each, so that all
share the same minutes of the machine. Steps are timed after a warm-up of one. Memory is the
process's peak less what it held after its imports (on a GPU: the peak of what torch allocated).
The dense energy is off on both sides (`gpu_suite.py` times steps with it too); `components.py`
times it apart. The step is one in the middle of a run, in which every other term and every CAM is
computed.

`PATH` is a clone of Jessie459/feature-self-reinforcement. Nothing of it is part of this package.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from _children import (
    Serving,
    alternate,
    serve,
    serve_loop,
    start_serving,
    synchronize,
    times_faster,
    variants,
)
from _machine import machine, peak_bytes, peak_flops, write_json
from torch import Tensor, nn

TOTAL_STEPS, STEP = 20_000, 10_000
# Methods of a step, and parts of the objective by the path to them. A piece's time is its own, less
# that of pieces within it.
PASSES = {
    "_teacher_pass": "teacher forward",
    "_student_pass": "student forward",
}
PARTS = {
    "masks.2": "mask (and its CAM)",
    "terms.segmentation.labels": "pseudo labels (CAM, PAR)",
    "terms.affinity.labels": "token labels (CAM)",
    "terms.affinity": "affinity loss",
    "terms.segmentation": "segmentation loss",
    "terms.uncertain": "reinforcement losses",
    "terms.confident": "reinforcement losses",
}


def inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Return smooth random views and labels with two classes an image, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    size, batch = options.image_size, options.batch
    coarse = torch.randn(2 * batch, 3, 9, 9, generator=generator)
    views = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    labels = torch.zeros(batch, options.classes)
    for row in labels:
        row[torch.randperm(options.classes, generator=generator)[:2]] = 1.0
    return views[:batch], views[batch:], labels


class OurStep:
    """A training step of this package, as `fsr train` makes it.

    Args:
        options: the benchmark's options; `preset`, `precision`, `energy` and `compiled` say which
            variant.
        wrap: puts the student into a data-parallel wrapper.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        wrap: Callable[[nn.Module], nn.Module] = lambda student: student,
    ) -> None:
        from fsr import EMATeacher, SingleStageSegmenter
        from fsr.backbone import compile_blocks
        from fsr.objective import TrainingObjective
        from fsr.optim import parameter_groups
        from fsr.presets import get_preset

        torch.manual_seed(0)
        self.options = options
        self.device = torch.device(options.device)
        changes = {} if options.energy else {"energy_weight": 0.0}
        preset = get_preset(options.preset, total_steps=TOTAL_STEPS, **changes)
        self.student = SingleStageSegmenter(
            options.classes,
            options.backbone,
            image_size=options.image_size,
            projection_dim=options.projection_dim,
            backbone_options={
                "class_token": False,
                "global_pool": "",
                "drop_path_rate": preset.drop_path_rate,
            },
        ).to(self.device)
        self.teacher = EMATeacher(self.student, preset.momentum_schedule())
        if options.compiled:
            compile_blocks(self.student)
            compile_blocks(self.teacher.module)
        self.objective = TrainingObjective(wrap(self.student), self.teacher, preset=preset)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.student, 6e-5, weight_decay=0.05, head_lr_scale=10.0),
            fused=True,
        )
        self.student.train()
        self.batch = [part.to(self.device) for part in inputs(options)]
        # Seconds of the pieces within each piece that is being timed, innermost last.
        self.within: list[float] = []

    def __call__(self) -> None:
        """Make one step."""
        output = self.forward()
        output.total.backward()
        self.update()

    def forward(self) -> Any:
        """Return the objective's output."""
        low = self.options.precision == "bf16"
        cast = torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext()
        with cast:
            return self.objective(*self.batch, step=STEP)

    def update(self) -> None:
        """Update student and teacher."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.teacher.update(self.student, STEP)

    def pieces(self) -> dict[str, float]:
        """Return the seconds of every piece of one step."""
        seconds: dict[str, float] = {}
        from fsr.objective import Step

        passes = {name: getattr(Step, name) for name in PASSES}
        for name, title in PASSES.items():
            setattr(Step, name, self._timed(passes[name], title, seconds))
        parts = {path: self.objective.get_submodule(path) for path in PARTS}
        for path, title in PARTS.items():
            parts[path].forward = self._timed(parts[path].forward, title, seconds)
        try:
            total = self._timed(self.forward, "rest of forward", seconds)().total
        finally:
            for name, method in passes.items():
                setattr(Step, name, method)
            for part in parts.values():
                del part.forward
        self._timed(total.backward, "backward", seconds)()
        self._timed(self.optimizer.step, "optimiser", seconds)()
        self.optimizer.zero_grad()
        update = self._timed(self.teacher.update, "teacher update", seconds)
        update(self.student, STEP)
        return seconds

    def details(self, threads: int) -> dict[str, Any]:
        """Return the pieces, the arithmetic, and its rate beside the best product of this minute.

        The two are timed by turns in this process: on a shared machine both change from minute to
        minute, their ratio hardly.
        """
        arithmetic = self.arithmetic()
        precision = self.options.precision
        peaks, rates = [peak_flops(precision, self.device, threads)], []
        for _ in range(RATE_STEPS):
            synchronize(self.device)
            begun = time.perf_counter()
            self()
            synchronize(self.device)
            rates.append(arithmetic / (time.perf_counter() - begun))
            peaks.append(peak_flops(precision, self.device, threads))
        shares = [
            2 * rate / (before + after)
            for rate, (before, after) in zip(rates, pairwise(peaks), strict=True)
        ]
        return {
            "pieces": self.pieces(),
            "arithmetic": arithmetic,
            "peak_flops_per_second": peaks,
            "share_of_peak": statistics.median(shares),
        }

    def arithmetic(self) -> int:
        """Return the floating point operations of one step, products and attention alone."""
        from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

        def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
            return sdpa_flop(query, key, value)

        def backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
            return sdpa_backward_flop(grad, query, key, value)

        aten = torch.ops.aten
        attention = {
            aten._scaled_dot_product_flash_attention_for_cpu: forward,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        }
        counter = FlopCounterMode(display=False, custom_mapping=attention)
        with counter:
            self()
        return int(counter.get_total_flops())

    def _timed(
        self, call: Callable[..., Any], title: str, seconds: dict[str, float]
    ) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.within.append(0.0)
            synchronize(self.device)
            begun = time.perf_counter()
            result = call(*args, **kwargs)
            synchronize(self.device)
            spent = time.perf_counter() - begun
            seconds[title] = seconds.get(title, 0.0) + spent - self.within.pop()
            if self.within:
                self.within[-1] += spent
            return result

        return timed


def child(options: argparse.Namespace) -> None:
    """Serve steps to the parent process."""
    serving = start_serving(options.threads, options.precision or "fp32")
    device = torch.device(options.device)
    if options.child == "released":
        _serve_released(options, device, serving)
        return
    if options.kernels:
        os.environ["FSR_TRITON"] = "1"
    import fsr.objective  # noqa: F401  # what an import costs is not the step's

    base = peak_bytes(device)
    step = OurStep(options)
    serve(serving, device, step, base, lambda: step.details(options.threads))


def _serve_released(options: argparse.Namespace, device: torch.device, serving: Serving) -> None:
    """Serve steps of the released training loop."""
    from _released_step import run_released_loop

    serve_loop(
        serving,
        device,
        lambda between, imported: run_released_loop(
            Path(options.reference),
            batch=lambda: inputs(options),
            between_steps=between,
            device=device.type,
            imported=imported,
            options={
                "input_size": options.image_size,
                "num_classes": options.classes + 1,
                "out_dim": options.projection_dim,
                "spg": options.batch,
            },
        ),
    )


def wanted(options: argparse.Namespace) -> dict[str, Sequence[str]]:
    """Return the command line of every variant that was asked for; the released step first."""
    found: dict[str, Sequence[str]] = {}
    if options.reference:
        released = ["--child", "released", "--reference", options.reference]
        found["released"] = [*released, *_common(options)]
    for preset in options.presets:
        for precision in options.precisions:
            for compiled in (False, True) if options.compile else (False,):
                name = f"{preset}, {precision}{', compiled' if compiled else ''}"
                flags = ["--compiled"] if compiled else []
                found[name] = ours(options, preset, precision, *flags)
    return {name: command for name, command in found.items() if name not in options.skip}


def ours(options: argparse.Namespace, preset: str, precision: str, *flags: str) -> Sequence[str]:
    """Return the command line of a step of this package.

    Args:
        options: the benchmark's options.
        preset: preset of the step.
        precision: one of `PRECISIONS`.
        flags: any of `--compiled` (blocks of the encoders), `--energy` (with the dense energy) and
            `--kernels` (those in Triton).
    """
    variant = ["--child", "ours", "--preset", preset, "--precision", precision]
    return [*variant, *flags, *_common(options)]


def _common(options: argparse.Namespace) -> list[str]:
    return [
        *("--device", options.device),
        *("--threads", str(options.threads)),
        *("--batch", str(options.batch)),
        *("--image-size", str(options.image_size)),
        *("--classes", str(options.classes)),
        *("--backbone", options.backbone),
        *("--projection-dim", str(options.projection_dim)),
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every variant needs for a step, and ratios to the released one."""
    device = torch.device(options.device)
    with variants(__file__, wanted(options)) as running:
        alternate(running, options.steps)
        rows: dict[str, dict[str, Any]] = {v.name: {**v.row(), **v.more()} for v in running}
    for row in rows.values():
        if row.get("arithmetic"):
            row["flops_per_second"] = row["arithmetic"] / row["median_seconds"]
        if "released" in rows:
            row["times_faster_than_released"] = times_faster(row, rows["released"])
            row["memory_of_released"] = row["memory_bytes"] / rows["released"]["memory_bytes"]
    return {
        "what": "one training step, dense energy off",
        "options": {key: value for key, value in vars(options).items() if key in SHOWN},
        "machine": machine(device),
        "variants": rows,
    }


RATE_STEPS = 2
SHOWN = ("device", "threads", "batch", "image_size", "classes", "backbone", "projection_dim")


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    widths = (10, 8, 8, 9, 8, 8)
    lines = [_row("", ("s a step", "MiB", "TFLOP", "of peak", "faster", "memory"), widths)]
    for name, row in result["variants"].items():
        cells = [
            f"{row['median_seconds']:.3f}",
            f"{row['memory_bytes'] / 2**20:.0f}",
            f"{row['arithmetic'] / 1e12:.2f}" if row.get("arithmetic") else "-",
            f"{row['share_of_peak']:.0%}" if "share_of_peak" in row else "-",
            *(
                f"{row[key]:.2f}x" if key in row else "-"
                for key in ("times_faster_than_released", "memory_of_released")
            ),
        ]
        lines.append(_row(name, cells, widths))
    for name, row in result["variants"].items():
        if row.get("pieces"):
            lines.append(f"\n{name}:")
            ordered = sorted(row["pieces"].items(), key=lambda item: -item[1])
            lines += [f"  {title:28}{seconds:>10.3f} s" for title, seconds in ordered]
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"{name:28}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--presets", nargs="+", default=["reference", "fast"])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=PRECISIONS)
    parser.add_argument("--compile", action="store_true", help="each variant compiled too")
    parser.add_argument("--skip", nargs="+", default=[], help='such as "reference, bf16"')
    parser.add_argument("--reference", metavar="PATH", help="clone of the released code")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--projection-dim", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="a tiny network and image")
    parser.add_argument("--output", type=Path, metavar="JSON")
    for name in ("--child", "--preset", "--precision"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--compiled", "--energy", "--kernels"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.backbone, options.image_size = "vit_tiny_patch16_224", 128
        options.projection_dim, options.steps = 64, 1
    if options.child:
        child(options)
        return 0
    result = measure(options)
    print(table(result))
    if options.output:
        write_json(options.output, result)
    return 0


PRECISIONS = ("fp32", "tf32", "bf16")

if __name__ == "__main__":
    sys.exit(main())
