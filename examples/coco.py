"""The released recipe for MS COCO 2014 in plain PyTorch, its losses by the name of a preset.

On one GPU: python examples/coco.py /path/to/coco
On four, as the authors: torchrun --nproc_per_node 4 examples/coco.py /path/to/coco
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from fsr import EMATeacher, SingleStageSegmenter
from fsr.data import COCO2014, StepBatches, TwoViews, ViewStream
from fsr.inference import evaluate
from fsr.objective import TrainingObjective
from fsr.optim import parameter_groups, set_learning_rate
from fsr.presets import COCO, Preset, get_preset
from fsr.schedules import warmup_cosine

RANK, PROCESSES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def build_preset(steps: int) -> Preset:
    """Take the released constants and what they change for COCO; each is changed by its name."""
    return get_preset("reference", **{**COCO, "total_steps": steps})


def build_student(
    classes: int, drop_path_rate: float, args: argparse.Namespace
) -> SingleStageSegmenter:
    """Build the network, as for VOC."""
    return SingleStageSegmenter(
        classes,
        args.backbone,
        pretrained={"true": True, "false": False}.get(args.pretrained, args.pretrained),
        image_size=args.image_size,
        aux_block=-3,
        aggregator="mca",
        decoder="largefov",
        projection_dim=4096,
        backbone_options={
            "class_token": False,
            "global_pool": "",
            "drop_path_rate": drop_path_rate,
            # The weights were made with mean and std 0.5; the authors feed ImageNet's instead.
            "pretrained_cfg_overlay": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        },
        projector_options={"hidden_dim": 2048, "bottleneck_dim": 256, "num_layers": 3},
        decoder_options={"hidden_dim": 512, "dilation": 5},
    )


def measure(name: str, model: Any, val_set: COCO2014, args: argparse.Namespace) -> None:
    """Score a network on the first 5,000 images that it was not trained on, and save it."""
    scores = evaluate(
        model,
        val_set,
        image_size=args.image_size,
        scales=(1.0,),
        cam_scales=(1.0, 0.5, 1.5),
        flip=True,
        cam_threshold=0.45,
        max_images=5000,
    )
    if RANK == 0:
        print(f"  {name}: prediction {scores.prediction_miou:.2%}, CAM {scores.cam_miou:.2%} mIoU")
        args.output.mkdir(parents=True, exist_ok=True)
        model.save(args.output / f"{name}.safetensors", class_names=val_set.class_names)


def train(args: argparse.Namespace) -> None:
    """Train on one GPU, on several, or on the CPU; measure every 4,000 steps."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.manual_seed(0)
    train_set = COCO2014(args.root, args.splits[0], masks=False)
    val_set = COCO2014(args.root, args.splits[1], cache=args.output / "masks")

    preset = build_preset(args.steps)
    if RANK == 0:
        print(preset)
    student = build_student(len(train_set.class_names), preset.drop_path_rate, args).to(device)
    teacher = EMATeacher(student, preset.momentum_schedule())
    groups = parameter_groups(student, 6e-5, weight_decay=0.05, head_lr_scale=10.0)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
    warmup, ratio = preset.resolve()["learning_rate_warmup"], preset.learning_rate_warmup_ratio
    learning_rate = warmup_cosine(6e-5, warmup, args.steps, warmup_ratio=ratio)
    network: torch.nn.Module = student
    if PROCESSES > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        network = DistributedDataParallel(student)
        torch.manual_seed(RANK)  # masks and DropPath of its own for every process
    objective = TrainingObjective(network, teacher, preset=preset)

    mean, std = student.backbone.mean, student.backbone.std
    views = TwoViews.from_preset("released", args.image_size, mean=mean, std=std)
    stream = ViewStream(train_set, views, seed=0)  # one shuffle after another
    batches = StepBatches(args.batch_size, steps=args.steps, rank=RANK, processes=PROCESSES)
    loader = DataLoader(stream, batch_sampler=batches, num_workers=args.workers)
    for step, ((view1, view2), labels) in enumerate(loader):
        inputs = (view1.image.to(device), view2.image.to(device), labels.to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            output = objective(*inputs, step=step)
        set_learning_rate(optimizer, learning_rate(step))
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        teacher.update(student, step)
        last = step + 1 == args.steps
        if RANK == 0 and (last or (step + 1) % 400 == 0):
            values = (f"{name} {value.item():.3f}" for name, value in output.terms().items())
            print(f"step {step + 1}:", *values, flush=True)
        if last or (step + 1) % 4000 == 0:
            measure("student", student, val_set, args)
            measure("teacher", teacher.module, val_set, args)
    if PROCESSES > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder of annotations, train2014 and val2014")
    parser.add_argument("--splits", nargs=2, default=("train", "val"))
    parser.add_argument("--steps", type=int, default=80_000)
    parser.add_argument("--batch-size", type=int, default=8, help="over all processes")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--backbone", default="vit_base_patch16_224.orig_in21k_ft_in1k")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/coco"))
    train(parser.parse_args())
