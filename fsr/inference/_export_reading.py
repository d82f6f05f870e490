"""The samples that fall to one process of an export, read at the size that the network gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fsr.data import Sample
from fsr.errors import DataError
from fsr.inference._export_folder import ExportFolder, flat_name, image_path
from fsr.inference._loading import SampleSource
from fsr.inference._maps import Mapped, fitted


class SampleRead(NamedTuple):
    """A sample that was read, or why not."""

    mapped: Mapped
    labels: Tensor
    name: str | None
    kept: bool


class Share(Dataset[SampleRead]):
    """This process's samples; errors are values, and samples that are done are not read."""

    def __init__(
        self,
        dataset: SampleSource,
        indices: Sequence[int],
        network: Any,
        max_size: int | None,
        target: ExportFolder,
    ) -> None:
        self.dataset = dataset
        self.indices = indices
        self.num_classes: int = network.num_classes
        self.patch: tuple[int, int] = network.backbone.patch_size
        self.max_size = max_size
        self.target = target
        self.names: Sequence[str] | None = getattr(dataset, "names", None)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> SampleRead:
        index, name = self.indices[position], None
        nothing = torch.zeros(self.num_classes)
        try:
            if self.names is not None:
                name = flat_name(self.names[index])
                if self.target.complete(name):
                    return SampleRead(Mapped(index, error="kept"), nothing, name, True)
            sample = self.dataset[index]
            name = flat_name(sample.name)
            if self.target.complete(name):
                return SampleRead(Mapped(index, error="kept"), nothing, name, True)
            self._check(sample)
            size = (sample.image.height, sample.image.width)
            pixels = fitted(sample.image, self.patch, self.max_size)
            self.target.place_image(name, sample, image_path(self.dataset, index))
        except Exception as error:
            said = f" ({name!r})" if name else ""
            message = f"dataset: sample {index}{said}: {error or type(error).__name__}"
            return SampleRead(Mapped(index, error=message), nothing, name, False)
        return SampleRead(Mapped(index, size, pixels), sample.labels, name, False)

    def _check(self, sample: Sample) -> None:
        """Raise unless a sample has an RGB image and labels of the model's classes."""
        if tuple(sample.labels.shape) != (self.num_classes,):
            raise DataError(
                f"expected labels of shape ({self.num_classes},), got {tuple(sample.labels.shape)}"
            )
        if not bool(torch.isfinite(sample.labels).all()):
            raise DataError("its image-level labels are unknown; pseudo labels need them")
        if sample.image.mode != "RGB":
            raise DataError(f"expected an RGB image, got mode {sample.image.mode!r}")
