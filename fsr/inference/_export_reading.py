"""Samples that pseudo labels are made of, read at the size that the network gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fsr.data import SampleSource
from fsr.errors import DataError
from fsr.inference._evaluation_reading import check_sample
from fsr.inference._export_folder import ExportFolder, flat_name, image_path
from fsr.inference._item import Item
from fsr.inference._maps import fitted


@dataclass(frozen=True)
class LabelledSamples:
    """Reads samples of a data set by number and places their images in the folder.

    Args:
        dataset: where samples come from. ``names``, if it has them, spares reading what is done.
        num_classes: number of classes that their labels must have.
        patch: ``(height, width)`` of a patch in pixels.
        max_size: longer side that larger images are shrunk to, None for never.
        target: where the results go; samples that are complete there are kept.
    """

    dataset: SampleSource
    num_classes: int
    patch: tuple[int, int]
    max_size: int | None
    target: ExportFolder

    def __call__(self, number: int) -> Item:
        """Read one sample; what cannot be used comes as an item that says why."""
        names: Sequence[str] | None = getattr(self.dataset, "names", None)
        item = Item(number, f"dataset: sample {number}")
        try:
            if names is not None:
                item = _named(item, names[number])
                if item.name is not None and self.target.complete(item.name):
                    return item._replace(kept=True)
            sample = self.dataset[number]
            item = _named(item, sample.name)
            if item.name is not None and self.target.complete(item.name):
                return item._replace(kept=True)
            check_sample(sample, self.num_classes)
            if not bool(torch.isfinite(sample.labels).all()):
                raise DataError("its image-level labels are unknown; pseudo labels need them")
            pixels = fitted(sample.image, self.patch, self.max_size)
            if item.name is not None:
                path = image_path(self.dataset, number)
                self.target.place_image(item.name, sample, path)
        except Exception as error:
            return item.refused(str(error) or type(error).__name__, error)
        size = (sample.image.height, sample.image.width)
        return item._replace(size=size, pixels=pixels, labels=sample.labels)


def _named(item: Item, name: str) -> Item:
    """Give an item the name of its files."""
    flat = flat_name(name)
    return item._replace(name=flat, where=f"dataset: sample {item.number} ({flat!r})")
