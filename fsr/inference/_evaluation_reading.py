"""Samples that are scored: checked, normalised, with their true labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from fsr.cam import ignore_label
from fsr.data import Sample, SampleSource
from fsr.errors import DataError
from fsr.inference._item import Item
from fsr.inference._made_of import Made, content_of


@dataclass(frozen=True)
class ScoredSamples:
    """Reads samples of a data set by number, for the network and for the scores.

    Args:
        dataset: where samples come from.
        num_classes: number of classes that their labels must have.
        mean: mean of the normalisation per channel.
        std: standard deviation likewise.
        size: ``(height, width)`` to resize images to (bilinear, no antialiasing, as the released
            code does), None for their own size.
        keep_pixels: keep the images as they are too.
    """

    dataset: SampleSource
    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    size: tuple[int, int] | None = None
    keep_pixels: bool = False

    def __call__(self, number: int) -> Item:
        """Read one sample; what cannot be used comes as an item that says why."""
        where = f"dataset: sample {number}"
        try:
            sample = self.dataset[number]
            pixels = TF.pil_to_tensor(sample.image)
            image = TF.to_dtype(pixels, torch.float32, scale=True)
        except Exception as error:
            failed = Item(number, where).refused("", error)
            return failed._replace(error=f"{where} cannot be read: {error}")
        item = Item(number, f"{where} ({sample.name!r})", sample.name)
        try:
            check_sample(sample, self.num_classes)
            if sample.target is not None:
                self._check_target(sample.target, (sample.image.height, sample.image.width))
        except DataError as error:
            return item.refused(str(error), error)
        item = item._replace(made=Made(content_of(sample)))
        image = TF.normalize(image, list(self.mean), list(self.std))
        if self.size is not None:
            image = F.interpolate(image[None], self.size, mode="bilinear", align_corners=False)[0]
        return item._replace(
            size=(sample.image.height, sample.image.width),
            pixels=pixels if self.keep_pixels else None,
            image=image,
            labels=sample.labels,
            target=sample.target,
        )

    def _check_target(self, target: Tensor, size: tuple[int, int]) -> None:
        """Raise unless a target has the image's size and labels of the model's classes."""
        if tuple(target.shape) != size:
            raise DataError(
                f"expected a target of the image's size {size}, got {tuple(target.shape)}"
            )
        ignored = ignore_label(self.num_classes)
        wrong = ((target < 0) | (target > self.num_classes)) & (target != ignored)
        if bool(wrong.any()):
            raise DataError(
                f"target: expected labels in 0..{self.num_classes} or {ignored}, got "
                f"{', '.join(map(str, sorted(set(target[wrong].tolist()))[:10]))}"
            )


def check_sample(sample: Sample, num_classes: int) -> None:
    """Raise unless a sample has an RGB image and labels of the model's classes.

    Raises:
        DataError: it has not.
    """
    if tuple(sample.labels.shape) != (num_classes,):
        raise DataError(
            f"expected labels of shape ({num_classes},), got {tuple(sample.labels.shape)}"
        )
    if sample.image.mode != "RGB":
        raise DataError(f"expected an RGB image, got mode {sample.image.mode!r}")
