"""The trainer's own rate: `fsr train` on scenes, from the seconds that its log holds."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any


def trainer_rate(options: Namespace, steps: int, seconds: float) -> dict[str, Any]:
    """Train for some steps and return what a step of the second half took.

    Args:
        options: the suite's options.
        steps: length of the run.
        seconds: how long it may take before it is ended; what its log holds then is used.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        small = ["--short"] if options.quick else []
        command = [sys.executable, "-m", "fsr", "train", *small, *_overrides(options, output)]
        if not options.quick:
            command.append(f"steps={steps}")
        told = subprocess.DEVNULL
        try:
            done = subprocess.run(command, timeout=seconds, stdout=told, stderr=told, check=False)
            ended = f"the process ended with {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            ended = f"no end in {seconds:.0f} s"
        log = output / "log.jsonl"
        records = (
            [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        )
    found = [record for record in records if record["kind"] == "train"]
    if len(found) < 4:
        return {"failure": ended or "too few steps in the log"}
    later = found[len(found) // 2 :]
    spent = sum(record["seconds"] for record in later)
    return {
        "seconds": [record["seconds"] for record in later],
        "median_seconds": statistics.median(record["seconds"] for record in later),
        "mean_seconds": spent / len(later),
        "waited_share": sum(record["waited"] for record in later) / spent,
        "ended": ended,
    }


def _overrides(options: Namespace, output: Path) -> list[str]:
    """Return what makes the trainer's step that of the benchmark."""
    common = [f"run.output={output}", "run.tensorboard=false", "run.sheet_images=0"]
    common += ["eval.at_start=false", "data.eval_size=1"]
    if options.quick:
        return common
    return [
        *common,
        f"data.batch_size={options.batch}",
        f"data.image_size={options.image_size}",
        f"model.backbone={options.backbone}",
        f"model.projection_dim={options.projection_dim}",
        "model.pretrained=false",
        "model.projector_options={hidden_dim: 2048, bottleneck_dim: 256}",
        "model.decoder_options={hidden_dim: 512, dilation: 5}",
        "preset.energy_scale=0.5",
        "optim.mixed_precision=bf16",
        "run.checkpoint_every=100000",
    ]
