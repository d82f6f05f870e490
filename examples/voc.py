"""The released recipe for PASCAL VOC 2012 in plain PyTorch, every term listed: change any line.

On one GPU: python examples/voc.py /path/to/VOCdevkit
On four, as the authors: torchrun --nproc_per_node 4 examples/voc.py /path/to/VOCdevkit
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from fsr import EMATeacher, SingleStageSegmenter, UncertainMasker
from fsr import objective as parts
from fsr.data import VOC2012, StepBatches, TwoViews, ViewStream
from fsr.inference import evaluate
from fsr.losses import DenseEnergyLoss
from fsr.objective import terms
from fsr.optim import parameter_groups, set_learning_rate
from fsr.presets import CAMSource
from fsr.refine import PAR
from fsr.schedules import cosine, linear_warmup, warmup_cosine

PROTOTYPES = 4096  # width of the projections
RANK, PROCESSES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def build_student(classes: int, args: argparse.Namespace) -> SingleStageSegmenter:
    """Build the network."""
    return SingleStageSegmenter(
        classes,
        args.backbone,
        pretrained={"true": True, "false": False}.get(args.pretrained, args.pretrained),
        image_size=args.image_size,
        aux_block=-3,
        aggregator="mca",
        decoder="largefov",
        projection_dim=PROTOTYPES,
        backbone_options={
            "class_token": False,
            "global_pool": "",
            "drop_path_rate": 0.1,
            # The weights were made with mean and std 0.5; the authors feed ImageNet's instead.
            "pretrained_cfg_overlay": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        },
        projector_options={"hidden_dim": 2048, "bottleneck_dim": 256, "num_layers": 3},
        decoder_options={"hidden_dim": 512, "dilation": 5},
    )


def build_recipe(steps: int) -> parts.Recipe:
    """List the terms of Eq. 10 over two views, the second of which the student sees masked."""
    cam = partial(CAMSource, "student", scales=(1.0, 0.5, 1.5), flip=True)
    pixels = parts.PixelLabels(cam("final", view=1), low=0.25, high=0.7, refinement=PAR())
    tokens = parts.TokenLabels(cam("auxiliary", view=1), low=0.25, high=0.7)
    masker = UncertainMasker(0.4, low=0.2, high=0.7, block=4, rounding="ceil")
    mask = parts.PatchMask(masker, cam("auxiliary", view=2), random_until=round(0.2 * steps))
    temperature = linear_warmup(0.04, 0.07, round(0.125 * steps))
    taught = partial(parts.TeacherTargets, PROTOTYPES, temperature=temperature, center_momentum=0.9)
    summary, patches = taught("aggregate", view=1), taught("patches", view=2)
    energy = DenseEnergyLoss(sigma_rgb=15.0, sigma_xy=100.0, scale=0.5)
    recipe = parts.Recipe("voc", {}, masks={2: mask}, masking="ignore", total_steps=steps)
    return recipe.add(
        parts.Weighted(terms.Classification(view=1), 1.0),
        parts.Weighted(terms.AuxiliaryClassification(view=1), 1.0),
        parts.Weighted(terms.Affinity(tokens), 0.2),
        parts.Weighted(terms.Segmentation(pixels), 0.1, start=0.1),  # from a tenth of the run on
        parts.Weighted(terms.DenseEnergy(pixels, energy), 0.05, start=0.1),
        parts.Weighted(terms.UncertainReinforcement(patches, temperature=0.1), 0.1),
        parts.Weighted(terms.ConfidentReinforcement(summary, view=2, temperature=0.1), 0.1),
    )


def measure(name: str, model: Any, val_set: VOC2012, args: argparse.Namespace) -> None:
    """Score a network on the images that it was not trained on, and save it."""
    cam_options: dict[str, Any] = {"cam_scales": (1.0, 0.5, 1.5), "cam_threshold": 0.5}
    size = args.image_size
    scores = evaluate(model, val_set, image_size=size, scales=(1.0,), flip=True, **cam_options)
    if RANK == 0:
        print(f"  {name}: prediction {scores.prediction_miou:.2%}, CAM {scores.cam_miou:.2%} mIoU")
        args.output.mkdir(parents=True, exist_ok=True)
        model.save(args.output / f"{name}.safetensors", class_names=val_set.class_names)


def train(args: argparse.Namespace) -> None:
    """Train on one GPU, on several, or on the CPU; measure every 2,000 steps."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.manual_seed(0)
    train_set = VOC2012(args.root, args.splits[0], masks=False)
    val_set = VOC2012(args.root, args.splits[1])

    student = build_student(len(train_set.class_names), args).to(device)
    teacher = EMATeacher(student, cosine(0.9995, 1.0, args.steps))
    groups = parameter_groups(student, 6e-5, weight_decay=0.05, head_lr_scale=10.0)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
    learning_rate = warmup_cosine(6e-5, round(0.075 * args.steps), args.steps, warmup_ratio=0.1)
    network: torch.nn.Module = student
    if PROCESSES > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        network = DistributedDataParallel(student)
        torch.manual_seed(RANK)  # masks and DropPath of its own for every process
    objective = parts.TrainingObjective(network, teacher, preset=build_recipe(args.steps))

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
        if RANK == 0 and (last or (step + 1) % 200 == 0):
            values = (f"{name} {value.item():.3f}" for name, value in output.terms().items())
            print(f"step {step + 1}:", *values, flush=True)
        if last or (step + 1) % 2000 == 0:
            measure("student", student, val_set, args)
            measure("teacher", teacher.module, val_set, args)
    if PROCESSES > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder VOCdevkit, or VOC2012 in it")
    parser.add_argument("--splits", nargs=2, default=("train_aug", "val"))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=8, help="over all processes")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--backbone", default="vit_base_patch16_224.orig_in21k_ft_in1k")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/voc"))
    train(parser.parse_args())
