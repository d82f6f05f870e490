"""What a step is given of an image: one view or two, padded crops with a box, or masks beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr._core.labels import IGNORE, ignore_label
from fsr.data import (
    CropDraw,
    RandomRescaleCrop,
    Sample,
    TwoViews,
    check_class_list,
    read_label_map,
)
from fsr.errors import DataError
from fsr.inference import MASKS, flat_name
from fsr.presets import Views
from fsr.train._options import Config


class Drawn:
    """Draws what a step is given of a sample, as tensors by name.

    Args:
        kind: what that is.
        views: draws views, and the colours of crops.
        crop: draws padded crops.
        num_classes: number C of foreground classes, to check label maps.
        pseudo: folder of label maps to learn from, named as the images are; None takes the
            sample's.
        weights: folder of maps from 0 to 255 of how far these are trusted; None: wholly.
    """

    def __init__(
        self,
        kind: Views,
        views: TwoViews,
        crop: RandomRescaleCrop,
        *,
        num_classes: int = 0,
        pseudo: Path | None = None,
        weights: Path | None = None,
    ) -> None:
        self.kind, self.views, self.crop = kind, views, crop
        self.num_classes, self.pseudo, self.weights = num_classes, pseudo, weights

    def __call__(self, sample: Sample) -> dict[str, Tensor]:
        """Return ``"view1"`` and what else the kind has: ``"view2"``, ``"box"``, ``"masks"``."""
        image = sample.image
        if self.kind == "two":
            first, second = self.views(image)
            return {"view1": first.image, "view2": second.image}
        if self.kind == "one":
            return {"view1": self.views.one(image).image}
        draw = self.crop.draw((image.height, image.width))
        crop = self.crop.apply(image, draw)
        drawn = {"view1": self.views.coloured(crop.image), "box": torch.tensor(crop.box)}
        if self.kind == "padded_and_second":
            drawn["view2"] = self.views.one(image).image
        if self.kind == "labelled":
            drawn |= self._maps(sample, draw)
        return drawn

    def check(self, dataset: Any) -> None:
        """Raise if an image lacks its map, before the first step of hours.

        Args:
            dataset: what is trained on; nothing is checked if it does not tell its names.

        Raises:
            DataError: with the first image that lacks one, and how many do; or the list that lies
                with the label maps names other classes.
        """
        names: Sequence[str] | None = getattr(dataset, "names", None)
        folders = [each for each in (self.pseudo, self.weights) if each is not None]
        if self.kind != "labelled" or names is None:
            return
        for folder in folders:
            missing = []
            for name in names:
                try:
                    map_file(folder, name)
                except DataError as error:
                    missing.append(str(error))
            if missing:
                raise DataError(f"{missing[0]}; {len(missing)} of {len(names)} images lack one")
        if self.pseudo is not None:
            check_class_list(self.pseudo, dataset.class_names)

    def _maps(self, sample: Sample, draw: CropDraw) -> dict[str, Tensor]:
        """Return the label map of a sample, cut as its image is, and its weights."""
        target = sample.target
        if self.pseudo is not None:
            target = read_label_map(map_file(self.pseudo, sample.name), self.num_classes)
        if target is None:
            raise DataError(f"{sample.name}: no label map to learn from; give data.pseudo")
        ignored = ignore_label(max(1, self.num_classes))
        # What torchvision resizes: bytes, or numbers that hold labels of 16 bits.
        kind = torch.uint8 if ignored == IGNORE else torch.float32
        found = {"masks": self._cut(target.to(kind), sample, draw, ignored).long()}
        if self.weights is not None:
            with Image.open(map_file(self.weights, sample.name)) as image:
                weights = torch.from_numpy(np.array(image.convert("L")))
            found["weights"] = self._cut(weights, sample, draw, 0).float() / 255
        return found

    def _cut(self, values: Tensor, sample: Sample, draw: CropDraw, fill: int) -> Tensor:
        """Return a map ``(h, w)`` cut as its image is."""
        size = (sample.image.height, sample.image.width)
        if tuple(values.shape) != size:
            hint = "; was it made with another data.orient?" if values.shape == size[::-1] else ""
            raise DataError(
                f"{sample.name}: expected a map of {size}, got {tuple(values.shape)}{hint}"
            )
        cut: Tensor = self.crop.apply(values[None], draw, fill=fill, labels=True).image
        return cut[0]


def map_file(folder: Path, name: str) -> Path:
    """Return the map of an image in a folder, or in one that ``fsr export`` wrote.

    Raises:
        DataError: there is none.
    """
    # An export has all masks in one folder inside, and their names without slashes and spaces.
    for place in (folder, folder / MASKS):
        for kept in dict.fromkeys((name, flat_name(name))):
            if (path := place / f"{kept}.png").is_file():
                return path
    raise DataError(f"{folder / name}.png: no such file, for the image {name!r}")


def build_views(config: Config, mean: Sequence[float], std: Sequence[float]) -> TwoViews:
    """Return what draws the random views that the options describe, normalised for the encoder.

    Args:
        config: options of the run.
        mean: of the encoder's input, one number per colour.
        std: standard deviation of the same.

    Example:
        >>> from fsr.train import load_config
        >>> views = build_views(load_config(), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        >>> views(Image.new("RGB", (200, 100)))[0].image.shape
        torch.Size([3, 96, 96])
    """
    options = asdict(config.views)
    del options["kind"], options["rescale"]
    return TwoViews(config.data.image_size, mean=mean, std=std, **options)


def build_drawn(
    config: Config, kind: Views, mean: Sequence[float], std: Sequence[float], num_classes: int
) -> Drawn:
    """Return what draws a step's images as the options describe, normalised for the encoder.

    Args:
        config: options of the run.
        kind: what the method wants; the option ``views.kind`` goes before it.
        mean: of the encoder's input, one number per colour.
        std: standard deviation of the same.
        num_classes: number C of foreground classes.

    Example:
        >>> from fsr.train import load_config
        >>> config = load_config()
        >>> drawn = build_drawn(config, "padded", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 2)
        >>> sample = Sample(Image.new("RGB", (200, 100)), torch.ones(2), None, "grey")
        >>> {name: tuple(value.shape) for name, value in drawn(sample).items()}
        {'view1': (3, 96, 96), 'box': (4,)}
    """
    views, data = config.views, config.data
    return Drawn(
        views.kind or kind,  # type: ignore[arg-type]  # checked with the options
        build_views(config, mean, std),
        RandomRescaleCrop(data.image_size, views.rescale, flip=views.flip),
        num_classes=num_classes,
        pseudo=None if data.pseudo is None else Path(data.pseudo),
        weights=None if data.weights is None else Path(data.weights),
    )
