"""The picture sheet: what the network makes of a few evaluation images, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from fsr.data import Sample, SampleSource
from fsr.masking import token_entropy
from fsr.objective import PatchMask, PixelLabels, TeacherTargets, TrainingObjective
from fsr.refine import pseudo_labels
from fsr.teacher import unwrap
from fsr.train._drawing import arrange, paint_labels, paint_mask
from fsr.visualize import heatmap_overlay

COLUMNS = ("image", "CAM", "pseudo label", "uncertain mask", "prediction")
TRUTH = "truth"


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


@torch.no_grad()
def picture_sheet(
    objective: TrainingObjective,
    dataset: SampleSource,
    class_names: Sequence[str],
    options: SheetOptions,
    generator: torch.Generator,
) -> Image.Image:
    """Draw one row per image: image, CAM, pseudo label, masked patches, prediction, truth.

    The CAM is the maximum over the classes present. In the column of masked patches the uncertain
    zone of Eq. 3 is tinted and what the masker hides is darkened. Where no image drawn has a mask,
    there is no column of truth.

    Args:
        objective: the objective of the run, for its networks and preset.
        dataset: where the images come from; the first that hold a class are drawn.
        class_names: names of the classes.
        options: what is drawn, and how.
        generator: source of the masks' randomness.
    """
    rows: list[tuple[str, list[Image.Image]]] = []
    truths: list[Tensor | None] = []
    for sample in _first_with_classes(dataset, options.count):
        names = [name for name, on in zip(class_names, sample.labels, strict=True) if on]
        rows.append(
            (f"{sample.name}: {', '.join(names)}", _row(objective, sample, options, generator))
        )
        truths.append(sample.target)
    titles: tuple[str, ...] = COLUMNS
    if any(truth is not None for truth in truths):
        titles = (*COLUMNS, TRUTH)
        for (_, tiles), truth in zip(rows, truths, strict=True):
            size = tiles[0].size
            blank = Image.new("RGB", size, "white")
            tiles.append(blank if truth is None else paint_labels(truth, size))
    return arrange(rows, titles, class_names, options.tile)


def _first_with_classes(dataset: SampleSource, count: int) -> Iterator[Sample]:
    """Yield the first samples that hold a class."""
    found = 0
    for index in range(len(dataset)):
        if found == count:
            return
        sample = dataset[index]
        if sample.labels.any():
            found += 1
            yield sample


def _row(
    objective: TrainingObjective, sample: Sample, options: SheetOptions, generator: torch.Generator
) -> list[Image.Image]:
    """Draw the tiles of one image, without the truth."""
    image = sample.image
    if options.image_size is not None:
        side = (options.image_size, options.image_size)
        image = image.resize(side, Image.Resampling.BILINEAR)
    maps = _maps(objective, image, sample.labels, options, generator)
    longer = max(sample.image.size)
    width, height = (round(side * options.tile / longer) for side in sample.image.size)
    size = (max(1, width), max(1, height))
    photo = sample.image.resize(size, Image.Resampling.BICUBIC)
    blank = Image.new("RGB", size, "white")  # of what recipe or network do not have
    return [
        photo,
        heatmap_overlay(photo, maps["cam"]),
        paint_labels(maps["pseudo"], size) if "pseudo" in maps else blank,
        paint_mask(photo, maps["zone"], maps["mask"]) if "mask" in maps else blank,
        paint_labels(maps["prediction"], size) if "prediction" in maps else blank,
    ]


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
