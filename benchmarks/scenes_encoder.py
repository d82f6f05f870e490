r"""Pretrain the encoder ``fsr_scenes_tiny`` on single-object scenes, from image labels alone.

The shipped weights come from two runs:

    python benchmarks/scenes_encoder.py --out runs/pretrain1
    python benchmarks/scenes_encoder.py --steps 250 --lr 5e-4 --pairs-from 0 --each \
        --init runs/pretrain1/fsr_scenes_tiny.safetensors --out runs/pretrain2

Every scene is drawn on the fly; no label map is drawn. Writes ``fsr_scenes_tiny.safetensors``
(copied by hand to ``fsr/weights`` when it is to be shipped), ``log.jsonl`` and ``result.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import TypeAlias

import timm
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import fsr.backbone  # noqa: F401 - registers the timm name
from fsr.data import SCENE_SEEDS, Scenes
from fsr.schedules import warmup_cosine

Loader: TypeAlias = "DataLoader[tuple[torch.Tensor, torch.Tensor]]"


class LabelledScenes(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Single-object scenes without masks, as normalised tensors and class indices."""

    def __init__(self, size: int, seed: int, image_size: int, train: bool) -> None:
        self.scenes = Scenes(size, seed=seed, image_size=image_size, objects=(1, 1), masks=False)
        augment = [
            v2.RandomResizedCrop(image_size, scale=(0.3, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.05)], p=0.5),
        ]
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                *(augment if train else []),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample = self.scenes[index]
        return self.transform(sample.image), sample.labels.argmax()


def best(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Highest ``share`` of the scores over the patches, dimension 1, at least one."""
    return scores.topk(max(1, int(share * scores.shape[1])), dim=1).values


def pretraining_loss(
    scores: torch.Tensor, labels: torch.Tensor, share: float, each: bool
) -> torch.Tensor:
    """Binary cross-entropy on the patches that image labels can speak for, scores ``(B, N, C)``.

    The best ``share`` of the patches, about the area of an object, must show the class that is
    present: their mean, or ``each`` of them, as a mean can be content with the emblem. The best
    ones of every other class must deny it. And the half that scores lowest for the present class
    must deny it too, since an object fills less than half of its scene, and seldom more of a crop:
    attention lets an encoder write the class of the one object into every patch, and no activation
    map comes back from there.
    """
    present = F.one_hot(labels, scores.shape[2]).bool()
    own, others = scores.transpose(1, 2)[present], scores.transpose(1, 2)[~present]
    right, wrong = best(own, share), best(others, share)
    if not each:
        right, wrong = right.mean(1), wrong.mean(1)
    lowest = own.topk(own.shape[1] // 2, dim=1, largest=False).values
    absent = (scores.shape[2] - 1) * F.softplus(wrong).mean()
    return F.softplus(-right).mean() + F.softplus(lowest).mean() + absent


def paired_scores(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Class scores ``(B, N, C)`` of an even number of scenes, encoded two to a sequence.

    Each scene must deny the class of the other one, so that a patch learns to take its class from
    the object it belongs to instead of from whatever object it finds.
    """
    tokens = rearrange(model._pos_embed(model.patch_embed(images)), "(b s) n d -> b (s n) d", s=2)
    tokens = model.norm(model.blocks(tokens))
    scores: torch.Tensor = rearrange(model.head(tokens), "b (s n) c -> (b s) n c", s=2)
    return scores


@torch.no_grad()
def accuracy(model: VisionTransformer, loader: Loader, share: float) -> float:
    """Share of the images whose highest class is the drawn one."""
    model.eval()
    right = 0
    for images, labels in loader:
        scores = best(model.head(model.forward_features(images)), share).mean(1)
        right += int((scores.argmax(1) == labels).sum())
    model.train()
    return right / len(loader.dataset)  # type: ignore[arg-type]


def main() -> None:
    """Pretrain, log, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument(
        "--share", type=float, default=0.11, help="share of patches pooled per class"
    )
    parser.add_argument(
        "--patch-drop", type=float, default=0.4, help="share of patches hidden from the encoder"
    )
    parser.add_argument(
        "--pairs-from", type=float, default=0.5, help="fraction of the run that sees whole pairs"
    )
    parser.add_argument("--each", action="store_true", help="ask for the class on every best patch")
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--check", type=int, default=600, help="held-out scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"))
    args = parser.parse_args()
    if args.batch % 2:
        parser.error(f"--batch: expected an even number, as scenes are paired, got {args.batch}")
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    model = timm.create_model(
        "fsr_scenes_tiny", img_size=args.image_size, patch_drop_rate=args.patch_drop
    )
    if not isinstance(model, VisionTransformer):
        raise TypeError(f"fsr_scenes_tiny: expected a VisionTransformer, got {type(model)}")
    if args.init:
        model.load_state_dict(load_file(args.init))
    decay = [p for p in model.parameters() if p.ndim > 1 and p is not model.pos_embed]
    plain = [p for p in model.parameters() if p.ndim == 1 or p is model.pos_embed]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr)
    rate = warmup_cosine(
        args.lr, warmup_steps=args.steps // 20, total_steps=args.steps, warmup_ratio=0.05
    )

    train = LabelledScenes(
        args.steps * args.batch, SCENE_SEEDS.pretrain, args.image_size, train=True
    )
    held_out = LabelledScenes(args.check, SCENE_SEEDS.pretrain_check, args.image_size, train=False)
    loader = DataLoader(
        train, args.batch, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    check = DataLoader(held_out, 100)
    start = time.perf_counter()
    model.train()
    with (args.out / "log.jsonl").open("w") as log:
        for step, (images, labels) in enumerate(loader):
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            if step < args.pairs_from * args.steps:
                scores = model.head(model.forward_features(images))
            else:
                scores = paired_scores(model, images)
            loss = pretraining_loss(scores, labels, args.share, args.each)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if step % 50 == 49 or step + 1 == args.steps:
                row = {
                    "step": step + 1,
                    "loss": round(loss.item(), 4),
                    "seconds": round(time.perf_counter() - start),
                }
                if step % 250 == 249 or step + 1 == args.steps:
                    row["held_out_accuracy"] = accuracy(model, check, args.share)
                    save_file(model.state_dict(), args.out / "fsr_scenes_tiny.safetensors")
                log.write(json.dumps(row) + "\n")
                log.flush()
                print(row, flush=True)
    result = {
        "held_out_accuracy": accuracy(model, check, args.share),
        "seconds": round(time.perf_counter() - start),
        "options": {k: str(v) for k, v in vars(args).items()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
        },
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
