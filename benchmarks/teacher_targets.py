"""What L_u and L_c teach: entropy of the teacher's targets in the course of a run.

    python benchmarks/teacher_targets.py --name paper
    python benchmarks/teacher_targets.py --name sharp --set preset.teacher_temperature=0.02 ...
    python benchmarks/teacher_targets.py --initial

A run of the ablation's setting (`ablation.yaml`, design seed 100) without evaluation. Every few
steps one record: the mean entropy of the teacher's distribution of a patch token (Eq. 8) and of the
aggregated token (Eq. 9), the entropy of the mean distribution over the batch's tokens, and the
losses. The targets tell tokens apart by the difference of the last two (their mutual information
with the token); where it is near 0 the teacher says the same of every token, and L_u and L_c teach
nothing. `results/ablation/targets.json` holds the records by name. `--initial` looks at untrained
heads on the pretrained encoder instead, small ones and those of the paper's size:
`targets_initial.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, cast

import torch
from _ablation_processes import revision
from _ablation_setting import OPTIONS
from _machine import machine, write_json
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from fsr.data import SCENE_SEEDS, Scenes, ViewStream
from fsr.objective import Step
from fsr.segmenter import SingleStageSegmenter
from fsr.train import (
    Config,
    build_accelerator,
    build_datasets,
    build_drawn,
    build_parts,
    build_student,
    load_config,
    micro_batches,
    train_step,
)

OUTPUT = Path(__file__).resolve().parent / "results" / "ablation" / "targets.json"
# Prototypes and other sizes of the projector: the default configuration's, and the paper's.
HEADS: tuple[tuple[int, dict[str, int]], ...] = (
    (256, {"hidden_dim": 256, "bottleneck_dim": 64}),
    (4096, {"hidden_dim": 2048, "bottleneck_dim": 256}),
)
TEMPERATURES = (0.04, 0.07, 0.02)
KEPT = ("uncertain", "confident", "classification", "affinity", "segmentation", "mask_strategy")


def entropy(distributions: Tensor) -> float:
    """Return the mean entropy of distributions `(..., K)` in nats."""
    return float(torch.special.entr(distributions).sum(-1).mean())


def told_apart(projections: Tensor, temperature: float) -> dict[str, float]:
    """Return entropy of the targets of projections `(n, K)`, centred, and of their mean."""
    targets = ((projections - projections.mean(0)) / temperature).softmax(-1)
    return {"entropy": entropy(targets), "mean_entropy": entropy(targets.mean(0))}


def initial_targets(scenes: int = 64, image_size: int = 96) -> list[dict[str, Any]]:
    """Return what the targets of fresh heads on the pretrained encoder tell apart."""
    drawn = Scenes(scenes, seed=SCENE_SEEDS.train, image_size=image_size, masks=False)
    pixels = torch.stack([TF.pil_to_tensor(drawn[i].image) for i in range(scenes)]) / 255
    records = []
    for prototypes, options in HEADS:
        torch.manual_seed(100)
        network = SingleStageSegmenter(
            len(drawn.class_names),
            "fsr_scenes_tiny",
            pretrained=True,
            image_size=image_size,
            projection_dim=prototypes,
            projector_options=options,
        ).eval()
        images = TF.normalize(pixels, list(network.backbone.mean), list(network.backbone.std))
        with torch.no_grad():
            found = cast(Tensor, network(images, outputs=("projections",)).projections)
        for temperature in TEMPERATURES:
            for kind, part in (("patch", found[:, 1:].flatten(0, 1)), ("aggregate", found[:, 0])):
                record = {"prototypes": prototypes, "temperature": temperature, "of": kind}
                records.append({**record, **told_apart(part, temperature)})
    return records


class Targets:
    """Forward hook of both reinforcement terms that keeps what a step's targets were."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    @torch.no_grad()
    def __call__(self, module: nn.Module, arguments: tuple[Step], result: Tensor) -> None:
        """Measure the targets of one step, the argument of a term."""
        step, term = arguments[0], cast(Any, module)
        targets, view = step.get(term.targets), term.targets.view
        if term.targets.rows == "aggregate":
            self.found |= {
                "aggregate_entropy": entropy(targets),
                "aggregate_mean_entropy": entropy(targets.mean(0)),
            }
            return
        student, mask = step.student("projections", view), step.mask(view)
        own = (student[:, 1:].float() / term.temperature).softmax(-1)
        taught = step.teacher("projections", view)[:, 1:].flatten(0, 1)
        self.found |= {
            "patch_entropy": entropy(targets),
            "patch_mean_entropy": entropy(targets.flatten(0, 1).mean(0)),
            "student_masked_entropy": entropy(own[cast(Tensor, mask).flatten(1)]),
            "projection_spread": float(taught.std(0).mean()),
        }


def record_run(config: Config, every: int) -> list[dict[str, Any]]:
    """Train and return a record for each `every` steps."""
    accelerator = build_accelerator(config)
    train_set, _ = build_datasets(config)
    student = build_student(config, train_set.class_names)
    classes, backbone = student.num_classes, student.backbone
    drawn = build_drawn(config, "two", backbone.mean, backbone.std, classes)
    parts = build_parts(config, student, accelerator)
    targets = Targets()
    for term in ("uncertain", "confident"):
        parts.objective.terms[term].register_forward_hook(targets)
    stream = ViewStream(train_set, drawn, seed=config.seed, whole=True)
    batches = micro_batches(stream, config, accelerator, parts.loading.workers, start=0)
    records = []
    for step in range(config.steps):
        batch = [next(batches) for _ in range(parts.accumulation)]
        values = train_step(parts, step, batch, config.seed, 0.0, lambda: False).read()
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
    parser.add_argument("--name", default="run", help="what to call the run in the file")
    parser.add_argument("--initial", action="store_true", help="look at untrained heads instead")
    parser.add_argument("--set", nargs="+", default=[], metavar="option=value")
    parser.add_argument("--every", type=int, default=25, help="steps between records")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(argv)
    if options.initial:
        write_json(options.output.with_stem("targets_initial"), initial_targets())
        return 0
    config = load_config(OPTIONS, overrides=["seed=100", *options.set, "run.upper_bound=null"])
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
