"""Training as a plain loop of Hugging Face Accelerate: one GPU, several, or a CPU.

pip install 'fsr-wsss[train]'
python examples/accelerate_loop.py                          # on the built-in scenes
accelerate launch --num_processes 4 examples/accelerate_loop.py --precision bf16
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from fsr import EMATeacher, SingleStageSegmenter
from fsr.data import SCENE_SEEDS, Scenes, StepBatches, TwoViews, ViewStream
from fsr.objective import TrainingObjective
from fsr.optim import parameter_groups, set_learning_rate
from fsr.presets import get_preset
from fsr.schedules import warmup_cosine


def train(args: argparse.Namespace) -> EMATeacher:
    """Train on the scenes; any data set of `fsr.data` will do in their place."""
    accelerator = Accelerator(mixed_precision=args.precision, cpu=args.cpu)
    set_seed(0)  # the same weights in every process
    data = Scenes(1000, seed=SCENE_SEEDS.train, image_size=96, masks=False)
    student = SingleStageSegmenter(
        len(data.class_names),
        "fsr_scenes_tiny",
        pretrained=True,
        image_size=args.image_size,
        projection_dim=256,
        projector_options={"hidden_dim": 256, "bottleneck_dim": 64},
        decoder_options={"hidden_dim": 128, "dilation": 2},
    )
    student.class_names = data.class_names
    # A short run needs a short memory: at most a tenth of it.
    momentum = min(0.9995, max(0.0, 1 - 10 / args.steps))
    preset = get_preset(
        "fast", total_steps=args.steps, momentum=momentum, mask_block=2, energy_scale=0.25
    )
    mean, std = student.backbone.mean, student.backbone.std

    student.to(accelerator.device)
    teacher = EMATeacher(student, preset.momentum_schedule())
    optimizer = torch.optim.AdamW(parameter_groups(student, args.rate, head_lr_scale=10.0))
    network, optimizer = accelerator.prepare(student, optimizer)
    # Built over what `prepare` returns: of several processes that is the wrapped student.
    objective = TrainingObjective(network, teacher, preset=preset).to(accelerator.device)
    learning_rate = warmup_cosine(args.rate, preset.resolve()["learning_rate_warmup"], args.steps)
    set_seed(accelerator.process_index)  # masks and DropPath of its own for every process

    # The batches are split here, so that the loader is not prepared.
    views = ViewStream(data, TwoViews(args.image_size, mean=mean, std=std))
    rank, processes = accelerator.process_index, accelerator.num_processes
    batches = StepBatches(args.batch_size, steps=args.steps, rank=rank, processes=processes)
    loader = DataLoader(views, batch_sampler=batches, num_workers=args.workers)
    for step, ((view1, view2), labels) in enumerate(loader):
        inputs = [each.to(accelerator.device) for each in (view1.image, view2.image, labels)]
        set_learning_rate(optimizer, learning_rate(step))
        with accelerator.autocast():
            output = objective(*inputs, step=step)
        optimizer.zero_grad()
        accelerator.backward(output.total)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        teacher.update(network, step)
        if (step + 1) % 20 == 0 or step + 1 == args.steps:
            accelerator.print(f"step {step + 1}: loss {output.total.item():.3f}")
    if accelerator.is_main_process:
        args.output.mkdir(parents=True, exist_ok=True)
        teacher.module.save(args.output / "teacher.safetensors")
    accelerator.end_training()
    return teacher


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--precision", default="no", choices=("no", "fp16", "bf16"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/accelerate"))
    train(parser.parse_args())
