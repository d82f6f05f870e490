"""Images a second of the trainer beside those of its bare step: what loading and recording cost.

    python benchmarks/trainer_rate.py                       # ViT-B, 448 px, batch 8
    python benchmarks/trainer_rate.py --quick               # tiny: does everything run?

The trainer is `fsr.train.run`, on made JPEGs of 500x375 and on the built-in scenes, its time that
of the steps in the second half of its log: by then scenes are kept. The bare step is the same step
on a batch that lies on the device, timed before and after.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _machine import machine, write_json
from accelerate.state import AcceleratorState, GradientState
from loading import write_photographs, write_table

from fsr.data import ViewStream
from fsr.train import (
    Batch,
    Config,
    build_accelerator,
    build_datasets,
    build_drawn,
    build_method,
    build_parts,
    build_student,
    load_config,
    micro_batches,
    read_log,
    run,
    train_step,
)

TINY = "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}"


def config_of(data: str, options: argparse.Namespace, scratch: Path) -> Config:
    """Return the options of a run on a kind of data."""
    image_size = 32 if options.quick else options.image_size
    given = [
        f"steps={options.steps}",
        f"data.image_size={image_size}",
        f"data.batch_size={options.batch}",
        f"data.train_size={options.images}",
        "data.eval_size=1",
        f"model.backbone={'vit_tiny_patch16_224' if options.quick else options.backbone}",
        "model.pretrained=false",
        *([TINY, "preset.mask_block=1"] if options.quick else []),
        "eval.at_start=false",
        "eval.flip=false",
        "eval.cam_scales=[1.0]",
        f"eval.image_size={image_size}",
        "run.tensorboard=false",
        "run.sheet_images=0",
        f"run.output={scratch / ('run-' + data)}",
    ]
    if options.workers is not None:
        given.append(f"data.workers={options.workers}")
    if data == "scenes":
        name = "default"
        given.append("run.upper_bound=null")
    else:
        name = "folder"
        given += [f"data.root={scratch}", f"data.labels={scratch / 'labels.csv'}"]
    return load_config(name, overrides=[*given, *options.set])


def fresh() -> None:
    """Forget the accelerator of the run before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def bare_seconds(config: Config, steps: int) -> float:
    """Return the seconds of a step on batches that lie on the device, the first step left out."""
    accelerator = build_accelerator(config)
    train_set, _ = build_datasets(config)
    student = build_student(config, train_set.class_names)
    backbone = student.backbone
    kind = build_method(config).views
    drawn = build_drawn(config, kind, backbone.mean, backbone.std, student.num_classes)
    parts = build_parts(config, student, accelerator)
    stream = ViewStream(train_set, drawn, seed=config.seed, whole=True)
    batches = micro_batches(stream, config, accelerator, 0, start=0)
    held: list[Batch] = [next(batches) for _ in range(parts.accumulation)]
    # A step of the middle of the run, where all terms have a weight.
    step = config.steps // 2
    launched = train_step(parts, step, held, config.seed, 0.0, lambda: False)
    launched.read()
    begun = time.perf_counter()
    for _ in range(steps):
        before, launched = launched, train_step(parts, step, held, config.seed, 0.0, lambda: False)
        before.read()
    launched.read()
    taken = (time.perf_counter() - begun) / steps
    fresh()
    return taken


def trainer_seconds(config: Config) -> tuple[float, float]:
    """Return the seconds of a step of a whole run, from its log, and of these those waited."""
    run(config)
    fresh()
    folder = sorted(Path(config.run.output).parent.glob(Path(config.run.output).name + "*"))[-1]
    records = [r for r in read_log(folder / "log.jsonl") if r["kind"] == "train"][1:]
    half = [r for r in records if r["step"] > config.steps // 2] or records
    return (
        statistics.fmean(r["seconds"] for r in half),
        statistics.fmean(r["waited"] for r in half),
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return images a second of trainer and bare step on each kind of data."""
    results = {}
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        size = (90, 120) if options.quick else (375, 500)
        write_photographs(scratch, options.images, size)
        write_table(scratch / "labels.csv", sorted(scratch.glob("*.jpg")))
        for data in options.data:
            config = config_of(data, options, scratch)
            before = bare_seconds(config, options.bare_steps)
            step, waited = trainer_seconds(config)
            after = bare_seconds(config, options.bare_steps)
            bare, batch = (before + after) / 2, options.batch
            results[data] = {
                "bare_images_per_second": batch / bare,
                "bare_before_and_after": [batch / before, batch / after],
                "trainer_images_per_second": batch / step,
                "ratio": bare / step,
                "waited_for_data": waited / step,
            }
            print(f"{data}: {row(results[data])}", flush=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "what": "the trainer beside its bare step",
        "machine": machine(device),
        "load_at_the_end": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "quick": options.quick,
        "options": {
            name: value for name, value in vars(options).items() if name not in ("output", "quick")
        },
        "data": results,
    }


def row(found: dict[str, Any]) -> str:
    """Spell the figures of a kind of data."""
    return (
        f"{found['trainer_images_per_second']:.2f} images/s, bare step "
        f"{found['bare_images_per_second']:.2f}: {found['ratio']:.0%}; "
        f"{found['waited_for_data']:.0%} waited for data"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", nargs="+", default=["photographs", "scenes"])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=64, help="in the data set")
    parser.add_argument(
        "--steps", type=int, default=40, help="of the trainer; its second half counts"
    )
    parser.add_argument("--bare-steps", type=int, default=10)
    parser.add_argument("--workers", type=int, help="as data.workers; by default by the machine")
    parser.add_argument("--set", nargs="+", default=[], metavar="option=value")
    parser.add_argument("--quick", action="store_true", help="tiny images and network")
    parser.add_argument("--output", type=Path, metavar="JSON")
    options = parser.parse_args(argv)
    result = measure(options)
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
