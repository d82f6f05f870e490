"""Training as a Lightning module: the objective is the loss, the teacher is updated after a step.

pip install lightning
python examples/lightning_module.py                # on the built-in scenes
python examples/lightning_module.py --devices 4    # with any logger and strategy of Lightning
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fsr import EMATeacher, SingleStageSegmenter
from fsr.data import SCENE_SEEDS, Scenes, StepBatches, TwoViews, View, ViewStream
from fsr.objective import TrainingObjective
from fsr.optim import parameter_groups
from fsr.presets import get_preset
from fsr.schedules import warmup_cosine

Batch = tuple[Sequence[View], Tensor]


class WeaklySupervised(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """A student, its teacher, and the objective over two views and image-level labels."""

    def __init__(self, data: Any, args: argparse.Namespace) -> None:
        super().__init__()
        self.data, self.image_size, steps = data, args.image_size, args.steps
        self.batch_size, self.workers = args.batch_size, args.workers
        self.preset = get_preset(
            "fast",
            total_steps=steps,
            # A short run needs a short memory: at most a tenth of it.
            momentum=min(0.9995, max(0.0, 1 - 10 / steps)),
            mask_block=2,
            energy_scale=0.25,
        )
        self.student = SingleStageSegmenter(
            len(data.class_names),
            "fsr_scenes_tiny",
            pretrained=True,
            image_size=args.image_size,
            projection_dim=256,
            projector_options={"hidden_dim": 256, "bottleneck_dim": 64},
            decoder_options={"hidden_dim": 128, "dilation": 2},
        )
        self.student.class_names = data.class_names
        self.teacher = EMATeacher(self.student, self.preset.momentum_schedule())
        self.objective = TrainingObjective(self.student, self.teacher, preset=self.preset)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return one long epoch; every process takes its share of a batch."""
        mean, std = self.student.backbone.mean, self.student.backbone.std
        stream = ViewStream(self.data, TwoViews(self.image_size, mean=mean, std=std))
        ranks = {"rank": self.trainer.global_rank, "processes": self.trainer.world_size}
        batches = StepBatches(self.batch_size, steps=self.preset.total_steps, **ranks)
        return DataLoader(stream, batch_sampler=batches, num_workers=self.workers)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        (view1, view2), labels = batch
        output = self.objective(view1.image, view2.image, labels, step=self.global_step)
        self.log("loss", output.total, prog_bar=True)
        return output.total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the teacher follow, once the optimiser has stepped."""
        self.teacher.update(self.student, self.global_step - 1)

    def configure_optimizers(self) -> Any:
        """Return AdamW whose rate warms up and falls; heads learn ten times as fast."""
        groups = parameter_groups(self.student, 1e-4, head_lr_scale=10.0)
        optimizer = torch.optim.AdamW(groups)
        warmup = self.preset.resolve()["learning_rate_warmup"]
        schedule = warmup_cosine(1.0, warmup, self.preset.total_steps)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}


def train(args: argparse.Namespace) -> WeaklySupervised:
    """Train on the scenes; any data set of `fsr.data` will do in their place."""
    lightning.seed_everything(0)
    data = Scenes(1000, seed=SCENE_SEEDS.train, image_size=96, masks=False)
    module = WeaklySupervised(data, args)
    trainer = lightning.Trainer(
        accelerator=args.accelerator,
        devices=args.devices,
        max_steps=args.steps,
        gradient_clip_val=1.0,
        use_distributed_sampler=False,  # the batches are split already
        default_root_dir=args.output,
        log_every_n_steps=10,
    )
    trainer.fit(module)
    if trainer.is_global_zero:
        args.output.mkdir(parents=True, exist_ok=True)
        module.teacher.module.save(args.output / "teacher.safetensors")
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/lightning"))
    train(parser.parse_args())
