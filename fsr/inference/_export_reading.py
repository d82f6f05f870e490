"""Samples that pseudo labels are made of, read at the size that the network gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fsr.data import SampleSource
from fsr.errors import DataError
from fsr.inference._evaluation_reading import check_sample
from fsr.inference._export_folder import ExportFolder, flat_name, image_path
from fsr.inference._item import Item
from fsr.inference._made_of import (
    UNKNOWN,
    made_of_file,
    made_of_sample,
    spelled_labels,
    stamp_of,
)
from fsr.inference._maps import fitted


@dataclass(frozen=True)
class LabelledSamples:
    """Reads samples of a data set by number and places their images in the folder.

    Args:
        dataset: where samples come from. ``names``, ``load_labels(index)`` and
            ``image_path(index)``, if it has all three, spare reading what is done.
        num_classes: number of classes that their labels must have.
        patch: ``(height, width)`` of a patch in pixels.
        max_size: longer side that larger images are shrunk to, None for never.
        target: where the results go; samples that are complete there are kept.
        settings: digest of all that changes a label, whatever the sample.
    """

    dataset: SampleSource
    num_classes: int
    patch: tuple[int, int]
    max_size: int | None
    target: ExportFolder
    settings: str

    def __call__(self, number: int) -> Item:
        """Read one sample; what cannot be used comes as an item that says why."""
        names: Sequence[str] | None = getattr(self.dataset, "names", None)
        item = Item(number, f"dataset: sample {number}")
        try:
            path = image_path(self.dataset, number)
            seen = None if path is None else stamp_of(path)
            if names is not None:
                item = self._told(_named(item, names[number]), path)
                if item.kept:
                    return item
            sample = self.dataset[number]
            item = _named(item, sample.name)
            if item.made is None:
                item = self._checked(item._replace(made=made_of_sample(sample, self.settings)))
            elif path is not None and stamp_of(path) != seen:
                item = item._replace(made=UNKNOWN)
            if item.kept:
                return item
            check_sample(sample, self.num_classes)
            if not bool(torch.isfinite(sample.labels).all()):
                raise DataError("its image-level labels are unknown; pseudo labels need them")
            pixels = fitted(sample.image, self.patch, self.max_size)
            if item.name is not None:
                self.target.place_image(item.name, sample, path)
        except Exception as error:
            return item.refused(str(error) or type(error).__name__, error)
        size = (sample.image.height, sample.image.width)
        return item._replace(size=size, pixels=pixels, labels=sample.labels)

    def _told(self, item: Item, path: Path | None) -> Item:
        """Say what a sample is made of without reading it, where the data set tells enough."""
        load = getattr(self.dataset, "load_labels", None)
        if load is None or path is None or item.name is None:
            return item
        try:
            labels: Tensor = load(item.number)
            others = [self.settings, spelled_labels(labels)]
            made = made_of_file(path, others, self.target.records.made(item.name))
        except (OSError, ValueError):  # reading the sample tells in words of the data set
            return item
        return self._checked(item._replace(made=made))

    def _checked(self, item: Item) -> Item:
        """Mark an item whose result can stay."""
        if item.name is None or item.made is None:
            return item
        return item._replace(kept=self.target.complete(item.name, item.made))


def _named(item: Item, name: str) -> Item:
    """Give an item the name of its files."""
    flat = flat_name(name)
    return item._replace(name=flat, where=f"dataset: sample {item.number} ({flat!r})")
