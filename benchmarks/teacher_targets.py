"""What L_u and L_c teach: entropy of the teacher's targets in the course of a run.

    python benchmarks/teacher_targets.py --name paper
    python benchmarks/teacher_targets.py --name sharp --set preset.teacher_temperature=0.02 ...

A run of the ablation's setting (`ablation.yaml`, design seed 100) without evaluation. Every few
steps one record: the mean entropy of the teacher's distribution of a patch token (Eq. 8) and of the
aggregated token (Eq. 9), the entropy of the mean distribution over the batch's tokens, and the
losses. The targets tell tokens apart by the difference of the last two (their mutual information
with the token); where it is near 0 the teacher says the same of every token, and L_u and L_c teach
nothing. `results/ablation/targets.json` holds the records by name.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from _ablation_processes import revision
from _ablation_setting import OPTIONS
from _machine import machine, write_json
from torch import Tensor, nn
from train import build_accelerator, build_parts, build_student, train_step
from train_config import Config, load_config
from train_data import build_datasets, build_views
from train_loading import micro_batches

from fsr.data.stream import ViewStream
from fsr.losses.reinforcement import teacher_distribution

OUTPUT = Path(__file__).resolve().parent / "results" / "ablation" / "targets.json"
KEPT = ("uncertain", "confident", "classification", "affinity", "segmentation", "mask_strategy")


def entropy(distributions: Tensor) -> float:
    """Return the mean entropy of distributions `(..., K)` in nats."""
    return float(torch.special.entr(distributions).sum(-1).mean())


class Targets:
    """Forward hook of the reinforcement loss that keeps what its last targets were."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    @torch.no_grad()
    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        """Measure the targets of one step; arguments are those of the loss."""
        student, taught1, taught2, mask, temperature = arguments[:5]
        centers: Any = module
        patches = teacher_distribution(taught2[:, 1:], centers.patch_center.value, temperature)
        aggregated = teacher_distribution(taught1[:, :1], centers.class_center.value, temperature)
        own = (student[:, 1:].float() / centers.student_temperature).softmax(-1)
        self.found = {
            "patch_entropy": entropy(patches),
            "patch_mean_entropy": entropy(patches.flatten(0, 1).mean(0)),
            "aggregate_entropy": entropy(aggregated),
            "aggregate_mean_entropy": entropy(aggregated.flatten(0, 1).mean(0)),
            "student_masked_entropy": entropy(own[mask.bool()]),
            "projection_spread": float(taught2[:, 1:].flatten(0, 1).std(0).mean()),
        }


def record_run(config: Config, every: int) -> list[dict[str, Any]]:
    """Train and return a record for each `every` steps."""
    accelerator = build_accelerator(config)
    train_set, _ = build_datasets(config)
    student = build_student(config, train_set.class_names)
    views = build_views(config, student.backbone.mean, student.backbone.std)
    parts = build_parts(config, student, accelerator)
    targets = Targets()
    parts.objective.reinforcement.register_forward_hook(targets)
    stream = ViewStream(train_set, views, seed=config.seed)
    batches = micro_batches(stream, config, accelerator, parts.loading.workers, start=0)
    records = []
    for step in range(config.steps):
        batch = [next(batches) for _ in range(parts.accumulation)]
        values = train_step(parts, step, batch, config.seed, 0.0, lambda: False)
        if step % every == 0 or step == config.steps - 1:
            record = {"step": step, **{name: values[name] for name in KEPT}, **targets.found}
            records.append(
                {n: round(v, 4) if isinstance(v, float) else v for n, v in record.items()}
            )
            print(json.dumps(records[-1]), flush=True)
    return records


def main(argv: list[str] | None = None) -> int:
    """Train once and add the records to the file."""
    parser = argparse.ArgumentParser(description="Entropy of the teacher's targets over a run.")
    parser.add_argument("--name", required=True, help="what to call the run in the file")
    parser.add_argument("--set", nargs="+", default=[], metavar="option=value")
    parser.add_argument("--every", type=int, default=25, help="steps between records")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(argv)
    config = load_config([str(OPTIONS)], ["seed=100", *options.set, "run.upper_bound=null"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = {
        "options": options.set,
        "steps": config.steps,
        "prototypes": config.model.projection_dim,
        "uniform": round(math.log(config.model.projection_dim), 4),
        "revision": revision(),
        "machine": machine(device),
        "records": record_run(config, options.every),
    }
    before = json.loads(options.output.read_text()) if options.output.exists() else {}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, {**before, options.name: run})
    return 0


if __name__ == "__main__":
    sys.exit(main())
