"""Train the default run's network with full masks: the upper bound that its table shows.

    python benchmarks/upper_bound.py

Same network, same initial weights, same number of steps, images and views as the given config of
``fsr train``; but the decoder learns from the true masks of both views with cross-entropy
instead of Eq. 10 from image labels. Every learning rate runs with every seed; the best mean
prediction mIoU counts. Rates are compared on the tuning scenes, and the score that is reported
comes from the test scenes. Finished runs are kept in the log and not repeated. The trainer's table
shows the copy that the package ships, `fsr/train/bounds/scenes.json`: copy a new result there.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from fsr.data import SCENE_SEEDS, VOC2012, Scenes, StepBatches, ViewStream, derive_seed
from fsr.errors import ConfigError
from fsr.inference import evaluate
from fsr.optim import parameter_groups, set_learning_rate
from fsr.schedules import warmup_cosine
from fsr.segmenter import SingleStageSegmenter
from fsr.train import Config, build_datasets, build_preset, build_student, load_config

RESULTS = Path(__file__).parent / "results"
IGNORE = 255
COMPARED = (
    "steps",
    "data.name",
    "data.train_size",
    "data.eval_split",
    "data.eval_size",
    "data.image_size",
    "data.batch_size",
    "model.backbone",
    "model.pretrained",
    "model.decoder_options",
    "eval.scales",
    "eval.flip",
)


class MaskedViews(Dataset[tuple[Tensor, Tensor]]):
    """Two views of a training image with their masks, a pure function of the position."""

    def __init__(self, config: Config, student: SingleStageSegmenter) -> None:
        data, views = config.data, config.views
        self.samples = masked_samples(config)
        self.order = ViewStream(self.samples, lambda image: image, seed=config.seed)
        self.seed = config.seed
        brightness, contrast, saturation, hue = views.jitter
        jitter = v2.ColorJitter(brightness, contrast, saturation, hue)
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(data.image_size, scale=tuple(views.scale), antialias=True),
                v2.RandomHorizontalFlip(views.flip),
                v2.RandomApply([jitter], p=views.jitter_prob),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(student.backbone.mean, student.backbone.std),
            ]
        )

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Return two views ``(2, 3, S, S)`` and their masks ``(2, S, S)``."""
        sample = self.samples[self.order.index(position)]
        pair = v2.functional.to_image(sample.image), tv_tensors.Mask(sample.target)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, 1, position))
            images, masks = zip(*(self.transform(*pair) for _ in range(2)), strict=True)
        return torch.stack(images), torch.stack(masks).long()


def masked_samples(config: Config) -> Any:
    """Return the images that a run of the config trains on, with their masks.

    Raises:
        ConfigError: neither scenes nor a data set in VOC's layout.
    """
    data = config.data
    if data.name == "scenes":
        return Scenes(data.train_size or 0, seed=SCENE_SEEDS.train, image_size=data.image_size)
    if data.name == "voc" and data.train_size is None:
        return VOC2012(data.root or "", data.train_split)
    raise ConfigError(f"data.name: expected scenes, or all of voc, got {data.name}")


def batches(config: Config, student: SingleStageSegmenter) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images and masks of every step, both views in one batch."""
    sampler = StepBatches(config.data.batch_size, steps=config.steps)
    for images, masks in DataLoader(MaskedViews(config, student), batch_sampler=sampler):
        yield images.flatten(0, 1), masks.flatten(0, 1)


def train(config: Config) -> SingleStageSegmenter:
    """Train with masks and return the network."""
    student = build_student(config, build_datasets(config)[0].class_names)
    optim, preset = config.optim, build_preset(config)
    groups = parameter_groups(
        student, optim.lr, weight_decay=optim.weight_decay, head_lr_scale=optim.head_lr_scale
    )
    optimizer = torch.optim.AdamW(groups, betas=(optim.beta1, optim.beta2))
    rate = warmup_cosine(
        optim.lr,
        warmup_steps=preset.resolve()["learning_rate_warmup"],
        total_steps=config.steps,
        warmup_ratio=preset.learning_rate_warmup_ratio,
    )
    student.train()
    for step, (images, masks) in enumerate(batches(config, student)):
        set_learning_rate(optimizer, rate(step))
        with torch.autocast("cpu", torch.bfloat16, enabled=optim.mixed_precision == "bf16"):
            scores = cast(Tensor, student(images, outputs=("segmentation",)).segmentation)
        logits = F.interpolate(
            scores.float(), masks.shape[1:], mode="bilinear", align_corners=False
        )
        loss = F.cross_entropy(logits, masks, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            print(f"  step {step + 1}: loss {loss.item():.3f}", flush=True)
    return student


def measure(config: Config, student: SingleStageSegmenter, split: str) -> float:
    """Return the prediction mIoU on the scenes of a split, as the trainer measures it."""
    config.data.eval_split = split
    _, scenes = build_datasets(config)
    ev = config.eval
    result = evaluate(
        student,
        scenes,
        scales=ev.scales,
        cam_scales=ev.cam_scales,
        flip=ev.flip,
        batch_size=ev.batch_size,
    )
    return float(result.prediction_miou)


def main() -> None:
    """Run what the log does not have yet and write the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="default", metavar="NAME|FILE")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS / "upper_bound.json")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    log = args.out.with_suffix(".jsonl")
    rows: list[dict[str, Any]] = []
    if log.exists():
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    for seed in args.seeds:
        for rate in args.rates:
            config = load_config(args.config, overrides=[f"optim.lr={rate}", f"seed={seed}"])
            key = {"learning_rate": rate, "seed": seed, "steps": config.steps}
            if any(key.items() <= row.items() for row in rows):
                continue
            print(key, flush=True)
            start = time.perf_counter()
            student = train(config)
            row = {
                **key,
                "tune_miou": measure(config, student, "tune"),
                "test_miou": measure(config, student, "test"),
                "seconds": round(time.perf_counter() - start, 1),
            }
            rows.append(row)
            print(row, flush=True)
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
    config = load_config(args.config)
    summarise(rows, config, args.out)


def summarise(rows: list[dict[str, Any]], config: Config, out: Path) -> None:
    """Write the bound: mean over seeds at the rate that is best on the tuning scenes."""
    rows = [row for row in rows if row["steps"] == config.steps]

    def mean(rate: float, split: str) -> float:
        scores = [row[f"{split}_miou"] for row in rows if row["learning_rate"] == rate]
        return float(sum(scores) / len(scores))

    rates = sorted({row["learning_rate"] for row in rows})
    best = max(rates, key=lambda rate: mean(rate, "tune"))
    chosen = [row for row in rows if row["learning_rate"] == best]
    options: Any = asdict(config)
    summary = {
        "prediction_miou": mean(best, "test"),
        "source": f"{len(chosen)} seeds, learning rate {best:g}, python benchmarks/upper_bound.py",
        "per_seed": {str(row["seed"]): row["test_miou"] for row in chosen},
        "tune_miou_by_rate": {str(rate): mean(rate, "tune") for rate in rates},
        # The trainer shows the bound only for a run with these very options.
        "for": {
            name: options[name]
            if "." not in name
            else options[name.split(".")[0]][name.split(".")[1]]
            for name in COMPARED
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
        },
    }
    out.write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
