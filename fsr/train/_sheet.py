"""The picture sheet: what the network makes of a few evaluation images, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from fsr.data import Sample, SampleSource
from fsr.objective import TrainingObjective
from fsr.train._drawing import arrange, paint_labels, paint_mask
from fsr.train._maps import SheetOptions, Shown, shown
from fsr.visualize import heatmap_overlay

COLUMNS = ("image", "CAM", "pseudo label", "uncertain mask", "prediction")
TRUTH = "truth"


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
    indices = first_with_classes(dataset, options.count)
    drawn = [shown(objective, dataset[index], options, generator) for index in indices]
    return sheet_of(drawn, class_names, options.tile)


def sheet_of(drawn: Sequence[Shown], class_names: Sequence[str], tile: int) -> Image.Image:
    """Lay samples and their maps out, one row each.

    Args:
        drawn: the samples with their maps.
        class_names: names of the classes.
        tile: longer side of one picture in pixels.
    """
    rows: list[tuple[str, list[Image.Image]]] = []
    truths: list[Tensor | None] = []
    for sample, maps in drawn:
        names = [name for name, on in zip(class_names, sample.labels, strict=True) if on]
        rows.append((f"{sample.name}: {', '.join(names)}", _row(sample, maps, tile)))
        truths.append(sample.target)
    titles: tuple[str, ...] = COLUMNS
    if any(truth is not None for truth in truths):
        titles = (*COLUMNS, TRUTH)
        for (_, tiles), truth in zip(rows, truths, strict=True):
            size = tiles[0].size
            blank = Image.new("RGB", size, "white")
            tiles.append(blank if truth is None else paint_labels(truth, size))
    return arrange(rows, titles, class_names, tile)


def first_with_classes(dataset: SampleSource, count: int) -> Iterator[int]:
    """Yield the indices of the first samples that hold a class."""
    found = 0
    for index in range(len(dataset)):
        if found == count:
            return
        if dataset[index].labels.any():
            found += 1
            yield index


def _row(sample: Sample, maps: dict[str, Tensor], tile: int) -> list[Image.Image]:
    """Draw the tiles of one image, without the truth."""
    longer = max(sample.image.size)
    width, height = (round(side * tile / longer) for side in sample.image.size)
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
