"""One component in a training loop that is not ours: patch-token contrast in a timm classifier.

A plain vision transformer learns which classes an image shows, from image-level labels. Its patch
tokens grow alike towards the last block, so that its class activation maps blur. `PTCLoss` keeps
tokens of different classes apart; the five lines that add it stand between the two marks.

python examples/one_component.py               # with the component
python examples/one_component.py --weight 0    # and without
"""

from __future__ import annotations

import argparse
from typing import Any

import timm
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import normalize, pil_to_tensor, to_dtype

import fsr.backbone  # noqa: F401 - tells timm of "fsr_scenes_tiny", the small encoder of the scenes
from fsr import PTCLoss
from fsr.cam import cam_to_labels, class_activation_maps, normalize_cam, resize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import LabelF1, SegmentationMetrics


def load(scenes: Scenes, indices: range) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Return images, labels and masks; any multi-label data will do in place of these scenes."""
    samples = [scenes[index % len(scenes)] for index in indices]
    pixels = [to_dtype(pil_to_tensor(each.image), torch.float32, scale=True) for each in samples]
    images = torch.stack([normalize(image, [0.5] * 3, [0.5] * 3) for image in pixels])
    return images, torch.stack([s.labels for s in samples]), [s.target for s in samples]


def activation_maps(model: Any, patches: Tensor) -> Tensor:
    """Return the normalised class activation maps of patch tokens (Eq. 2)."""
    return normalize_cam(
        class_activation_maps(patches, model.head.weight, model.patch_embed.grid_size)
    )


def train(model: Any, args: argparse.Namespace) -> None:
    """Train the classifier."""
    scenes = Scenes(1000, seed=SCENE_SEEDS.train, image_size=96, masks=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    ptc = PTCLoss()
    for step in range(args.steps):
        images, labels, _ = load(scenes, range(step * args.batch, (step + 1) * args.batch))
        tokens = model.forward_features(images)
        loss = F.multilabel_soft_margin_loss(model.forward_head(tokens), labels)
        # -- the component ------------------------------------------------------------------------
        patches = tokens[:, model.num_prefix_tokens :]
        with torch.no_grad():
            cam = activation_maps(model, patches)
            token_labels = cam_to_labels(cam, labels, low=0.25, high=0.7)  # 255 in between
        loss = loss + args.weight * ptc(patches, token_labels.flatten(1))
        # -- end of the component -----------------------------------------------------------------
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 20 == 0 or step + 1 == args.steps:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def measure(model: Any, images_in_all: int) -> None:
    """Print what became of labels, tokens and maps on scenes that were not trained on."""
    scenes = Scenes(images_in_all, seed=SCENE_SEEDS.tune, image_size=96)
    images, labels, masks = load(scenes, range(len(scenes)))
    tokens = model.eval().forward_features(images)
    patches = tokens[:, model.num_prefix_tokens :]
    classes = len(scenes.class_names)
    f1, segmentation = LabelF1(classes), SegmentationMetrics(classes)
    f1.update(model.forward_head(tokens), labels)
    cam = resize_cam(activation_maps(model, patches), (96, 96))
    segmentation.update(
        cam_to_labels(cam, labels, threshold=0.4), torch.stack([m for m in masks if m is not None])
    )
    unit = F.normalize(patches, dim=-1)
    alike = (unit @ unit.transpose(1, 2)).mean().item()
    print(
        f"label F1 {f1.compute().micro:.1%}, CAM mIoU {segmentation.compute().miou:.1%}, "
        f"mean cosine of an image's tokens {alike:.3f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weight", type=float, default=0.2, help="of the component in the loss")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=100, help="to measure on")
    options = parser.parse_args()
    torch.manual_seed(0)
    classifier: Any = timm.create_model("fsr_scenes_tiny", pretrained=True)
    classifier.reset_classifier(len(Scenes.class_names))
    train(classifier, options)
    measure(classifier, options.images)
