"""Pretrain the encoder ``fsr_scenes_tiny`` on single-object scenes, from image labels alone.

    python examples/pretrain_scenes.py --steps 2000 --out runs/pretrain

Every scene is drawn once, on the fly; no label map is drawn. Writes ``fsr_scenes_tiny.safetensors``
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
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import fsr.scenes_encoder  # noqa: F401 - registers the timm name
from fsr.data.scenes import SCENE_SEEDS, Scenes
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


def pooled_logits(model: VisionTransformer, images: torch.Tensor, share: float) -> torch.Tensor:
    """Class logits ``(B, C)``: mean over the ``share`` of patches that score highest per class.

    Averaging over all patches rewards an encoder that spreads the class over the background; the
    maximum alone rewards the emblem only. About the area of an object lies between the two.
    """
    scores = model.head(model.forward_features(images))
    return scores.topk(max(1, int(share * scores.shape[1])), dim=1).values.mean(1)


@torch.no_grad()
def accuracy(model: VisionTransformer, loader: Loader, share: float) -> float:
    """Share of the images whose highest class is the drawn one."""
    model.eval()
    right = sum(
        int((pooled_logits(model, images, share).argmax(1) == labels).sum())
        for images, labels in loader
    )
    model.train()
    return right / len(loader.dataset)  # type: ignore[arg-type]


def main() -> None:
    """Pretrain, log, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument(
        "--share", type=float, default=0.11, help="share of patches pooled per class"
    )
    parser.add_argument(
        "--patch-drop", type=float, default=0.5, help="share of patches hidden from the encoder"
    )
    parser.add_argument(
        "--full-from",
        type=float,
        default=0.8,
        help="fraction of the run from which all patches are seen",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    model = timm.create_model(
        "fsr_scenes_tiny", img_size=args.image_size, patch_drop_rate=args.patch_drop
    )
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
    held_out = LabelledScenes(600, SCENE_SEEDS.pretrain_check, args.image_size, train=False)
    loader = DataLoader(
        train, args.batch, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    check = DataLoader(held_out, 100)
    start = time.perf_counter()
    model.train()
    with (args.out / "log.jsonl").open("w") as log:
        for step, (images, labels) in enumerate(loader):
            if step == int(args.full_from * args.steps):
                model.patch_drop = torch.nn.Identity()
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            present = F.one_hot(labels, len(Scenes.class_names)).float()
            logits = pooled_logits(model, images, args.share)
            loss = F.binary_cross_entropy_with_logits(logits, present)
            optimizer.zero_grad()
            loss.backward()
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
