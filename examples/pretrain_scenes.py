"""Pretrain the encoder ``fsr_scenes_tiny`` on single-object scenes, from image labels alone.

    python examples/pretrain_scenes.py --steps 2000 --out runs/pretrain

Every scene is drawn once, on the fly; no label map is drawn. Writes ``fsr_scenes_tiny.safetensors``
(copied by hand to ``fsr/weights`` when it is to be shipped), ``log.jsonl`` and ``result.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from pathlib import Path
from typing import TypeAlias

import timm
import torch
from einops import rearrange
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


def windowed_tokens(
    model: VisionTransformer, images: torch.Tensor, window: int, shift: tuple[int, int]
) -> torch.Tensor:
    """Encode every window of ``window`` x ``window`` patches on its own; tokens ``(B, N, D)``.

    A scene holds one object, so nothing would keep an encoder that sees all of it from writing the
    class into the background as well, and no class activation map would find its way back. Through
    windows, a patch far from the object cannot know the class.
    """
    tokens = model._pos_embed(model.patch_embed(images))
    side = model.patch_embed.grid_size[0]
    grid = rearrange(tokens, "b (h w) d -> b h w d", h=side).roll(shift, (1, 2))
    cells = rearrange(grid, "b (h p) (w q) d -> (b h w) (p q) d", p=window, q=window)
    cells = model.norm(model.blocks(cells))
    across = side // window
    grid = rearrange(
        cells, "(b h w) (p q) d -> b (h p) (w q) d", h=across, w=across, p=window, q=window
    )
    return rearrange(grid.roll((-shift[0], -shift[1]), (1, 2)), "b h w d -> b (h w) d")


def pooled(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Class logits ``(B, C)``: mean over the ``share`` of patches that score highest per class.

    The maximum alone rewards the emblem only, the mean over all patches the background as well;
    about the area of an object lies between the two.
    """
    return scores.topk(max(1, int(share * scores.shape[1])), dim=1).values.mean(1)


@torch.no_grad()
def accuracy(model: VisionTransformer, loader: Loader, share: float) -> float:
    """Share of the images whose highest class is the drawn one."""
    model.eval()
    right = sum(
        int((pooled(model.head(model.forward_features(images)), share).argmax(1) == labels).sum())
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
        "--windows", type=int, nargs="+", default=[4, 6, 6, 6, 12], help="drawn from, in patches"
    )
    parser.add_argument("--check", type=int, default=600, help="held-out scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    model = timm.create_model("fsr_scenes_tiny", img_size=args.image_size)
    rng = random.Random(args.seed)
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
            present = F.one_hot(labels, len(Scenes.class_names)).float()
            window = rng.choice(args.windows)
            shift = (rng.randrange(window), rng.randrange(window))
            logits = pooled(model.head(windowed_tokens(model, images, window, shift)), args.share)
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
