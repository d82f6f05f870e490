"""The picture sheet: what the network makes of a few evaluation images, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from fsr.data import SampleSource
from fsr.masking import token_entropy
from fsr.objective import TrainingObjective
from fsr.refine import pseudo_labels
from fsr.teacher import unwrap
from fsr.visualize import colorize, heatmap_overlay, legend

COLUMNS = ("image", "CAM", "pseudo label", "uncertain mask", "prediction", "truth")
GAP, TITLE = 6, 22
TINT, DARK = (255, 140, 0), (50, 50, 50)


@torch.no_grad()
def picture_sheet(
    objective: TrainingObjective,
    dataset: SampleSource,
    class_names: Sequence[str],
    *,
    count: int,
    cam_scales: Sequence[float],
    scales: Sequence[float],
    image_size: int | None,
    generator: torch.Generator,
    tile: int = 168,
) -> Image.Image:
    """Draw one row per image: image, CAM, pseudo label, masked patches, prediction, truth.

    The CAM is the maximum over the classes present. In the column of masked patches the uncertain
    zone of Eq. 3 is tinted and what the masker hides is darkened.

    Args:
        objective: the objective of the run, for its networks, masker, refinement and thresholds.
        dataset: where the images come from; the first `count` that hold a class are drawn.
        class_names: names of the classes.
        count: number of rows.
        cam_scales: image scales of the CAMs.
        scales: image scales of the prediction.
        image_size: side that images are resized to for the networks, None for their own size.
        generator: source of the masks' randomness.
        tile: longer side of one picture in pixels.
    """
    rows: list[list[Image.Image]] = []
    notes: list[str] = []
    for index in range(len(dataset)):
        if len(rows) == count:
            break
        sample = dataset[index]
        present = [name for name, on in zip(class_names, sample.labels, strict=True) if on]
        if not present:
            continue
        image = sample.image
        if image_size is not None:
            image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
        maps = _maps(objective, image, sample.labels, cam_scales, scales, generator)
        width, height = (round(side * tile / max(sample.image.size)) for side in sample.image.size)
        size = (max(1, width), max(1, height))
        photo = sample.image.resize(size, Image.Resampling.BICUBIC)
        rows.append(
            [
                photo,
                heatmap_overlay(photo, maps["cam"]),
                _labels(maps["pseudo"], size),
                _masked(photo, maps["zone"], maps["mask"]),
                _labels(maps["prediction"], size),
                _labels(sample.target, size)
                if sample.target is not None
                else Image.new("RGB", size, "white"),
            ]
        )
        notes.append(f"{sample.name}: {', '.join(present)}")
    return _arrange(rows, notes, class_names, tile)


def _maps(
    objective: TrainingObjective,
    image: Image.Image,
    labels: Tensor,
    cam_scales: Sequence[float],
    scales: Sequence[float],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return what the student and the objective make of one image."""
    student: Any = unwrap(objective.student)
    preset, device = objective.preset, next(student.parameters()).device
    pixels = TF.to_dtype(TF.pil_to_tensor(image), torch.float32, scale=True)[None].to(device)
    images = TF.normalize(pixels, list(student.backbone.mean), list(student.backbone.std))
    present = labels[None].to(device)
    cam, auxiliary = student.cam(images, scales=cam_scales)
    # The masker works on whole blocks: the nearest grid that they divide.
    cells = [preset.mask_block * patch for patch in student.backbone.patch_size]
    grid = tuple(
        preset.mask_block * max(1, round(side / cell))
        for side, cell in zip(images.shape[2:], cells, strict=True)
    )
    source = auxiliary if preset.mask_cam.layer == "auxiliary" else cam
    masker = objective.get_submodule("masks.2").masker
    extra = {}
    if preset.mask_strategy == "edge":
        extra["images"] = pixels
    elif preset.mask_strategy == "entropy":
        extra["entropy"] = _entropy(objective, images, grid)
    return {
        "cam": (cam * present[:, :, None, None]).amax(1)[0],
        "pseudo": pseudo_labels(
            objective.get_submodule("terms.segmentation.labels").refinement,
            pixels,
            cam,
            present,
            low=preset.pseudo_low,
            high=preset.pseudo_high,
        )[0],
        "zone": masker.uncertain_zone(source, present, grid=grid)[0],
        "mask": masker(source, present, grid=grid, generator=generator, **extra)[0],
        "prediction": student.predict(images, scales=scales).argmax(1)[0],
    }


def _entropy(objective: TrainingObjective, images: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Return the teacher's entropy on a grid of patches, after its temperature's warm-up."""
    network: Any = objective.teacher.module
    size = [cells * side for cells, side in zip(grid, network.backbone.patch_size, strict=True)]
    scaled = F.interpolate(images, size, mode="bilinear")
    projections = objective.teacher(scaled, outputs=("projections",)).projections
    targets: Any = objective.get_submodule("terms.uncertain.targets")
    number = objective.preset.total_steps
    return token_entropy(targets.distribution(projections[:, 1:], number)).view(-1, *grid)


def _labels(labels: Tensor, size: tuple[int, int]) -> Image.Image:
    """Paint a label map; nearest, so that no label is invented."""
    return colorize(labels).resize(size, Image.Resampling.NEAREST)


def _masked(photo: Image.Image, zone: Tensor, mask: Tensor) -> Image.Image:
    """Tint the uncertain zone, darken the masked patches."""
    size = (photo.height, photo.width)
    tint, dark = (
        F.interpolate(patches[None, None].float(), size)[0, 0, :, :, None].cpu().numpy()
        for patches in (zone, mask)
    )
    picture = np.asarray(photo) / 255
    picture = picture * (1 - 0.5 * tint) + 0.5 * tint * np.array(TINT) / 255
    return Image.fromarray(np.uint8(255 * picture * (1 - 0.75 * dark)))


def _arrange(
    rows: list[list[Image.Image]], notes: list[str], class_names: Sequence[str], tile: int
) -> Image.Image:
    """Put the tiles under their titles, a note under each row and the legend at the end."""
    font = ImageFont.load_default(size=13)
    step = tile + GAP
    width = len(COLUMNS) * step + GAP
    colours = legend(class_names, width=width, extra=(("uncertain", TINT), ("masked", DARK)))
    height = TITLE + len(rows) * (tile + TITLE) + colours.height + GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(COLUMNS):
        draw.text((GAP + column * step, 4), title, fill="black", font=font)
    for row, (tiles, note) in enumerate(zip(rows, notes, strict=True)):
        top = TITLE + row * (tile + TITLE)
        for column, picture in enumerate(tiles):
            sheet.paste(picture, (GAP + column * step, top))
        draw.text((GAP, top + tile + 3), note, fill="black", font=font)
    sheet.paste(colours, (GAP, TITLE + len(rows) * (tile + TITLE) + GAP))
    return sheet
