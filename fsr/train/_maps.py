"""What the student and the objective's parts make of one image: the maps that pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from fsr.data import Sample
from fsr.masking import token_entropy
from fsr.objective import PatchMask, PixelLabels, TeacherTargets, TrainingObjective
from fsr.refine import pseudo_labels
from fsr.teacher import unwrap


@dataclass(frozen=True)
class SheetOptions:
    """What is drawn, and how.

    Attributes:
        count: number of rows.
        cam_scales: image scales of the CAMs.
        scales: image scales of the prediction.
        image_size: side that images are resized to for the networks, None for their own size.
        tile: longer side of one picture in pixels.
    """

    count: int
    cam_scales: Sequence[float]
    scales: Sequence[float]
    image_size: int | None
    tile: int = 168


class Shown(NamedTuple):
    """A sample, and maps of it by name: ``"cam"``, and what recipe and network have of the rest.

    Those are ``"pseudo"``, ``"prediction"``, ``"zone"`` and ``"mask"``.
    """

    sample: Sample
    maps: dict[str, Tensor]


@torch.no_grad()
def shown(
    objective: TrainingObjective,
    sample: Sample,
    options: SheetOptions,
    generator: torch.Generator,
) -> Shown:
    """Return a sample with its maps.

    Args:
        objective: the objective of the run, for its networks and preset.
        sample: the sample.
        options: what is drawn, and how.
        generator: source of the masks' randomness.
    """
    image = sample.image
    if options.image_size is not None:
        side = (options.image_size, options.image_size)
        image = image.resize(side, Image.Resampling.BILINEAR)
    return Shown(sample, _maps(objective, image, sample.labels, options, generator))


def _maps(
    objective: TrainingObjective,
    image: Image.Image,
    labels: Tensor,
    options: SheetOptions,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return what the student and the objective's masker and labels make of one image."""
    student: Any = unwrap(objective.student)
    device = next(student.parameters()).device
    pixels = TF.to_dtype(TF.pil_to_tensor(image), torch.float32, scale=True)[None].to(device)
    images = TF.normalize(pixels, list(student.backbone.mean), list(student.backbone.std))
    present = labels[None].to(device)
    cam, auxiliary = student.cam(images, scales=options.cam_scales)
    maps = {"cam": (cam * present[:, :, None, None]).amax(1)[0]}
    if "segmentation" in student.head_names:
        maps["prediction"] = student.predict(images, scales=options.scales).argmax(1)[0]
    for part in objective.modules():
        if isinstance(part, PixelLabels):
            maps["pseudo"] = pseudo_labels(
                part.refinement, pixels, cam, present, low=part.low, high=part.high
            )[0]
    for part in objective.masks.values():
        if not isinstance(part, PatchMask):
            continue
        # The masker works on whole blocks: the nearest grid that they divide.
        block, patch = part.masker.block, student.backbone.patch_size
        height, width = (
            block * max(1, round(side / (block * cell)))
            for side, cell in zip(images.shape[2:], patch, strict=True)
        )
        grid = (height, width)
        source = auxiliary if part.source.layer == "auxiliary" else cam
        entropy = None
        if part.masker.strategy == "entropy" and part.targets is not None:
            entropy = _entropy(objective, part.targets, images, grid)
        mask = part.masker(
            source, present, grid=grid, images=pixels, entropy=entropy, generator=generator
        )
        maps["zone"] = part.masker.uncertain_zone(source, present, grid=grid)[0]
        maps["mask"] = mask[0]
    return maps


def _entropy(
    objective: TrainingObjective, targets: TeacherTargets, images: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return the teacher's entropy on a grid of patches, after its temperature's warm-up."""
    teacher: Any = objective.teacher
    patch = teacher.module.backbone.patch_size
    size = [cells * side for cells, side in zip(grid, patch, strict=True)]
    scaled = F.interpolate(images, size, mode="bilinear")
    projections = teacher(scaled, outputs=("projections",)).projections[:, 1:]
    distributions = targets.distribution(projections, objective.recipe.total_steps)
    return token_entropy(distributions).view(-1, *grid)
