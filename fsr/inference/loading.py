"""Samples of a data set as normalised tensors, this process's share of them, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from fsr._distributed import is_distributed
from fsr.data.sample import Sample


class SampleSource(Protocol):
    """Whatever can be indexed to samples: the data sets of :mod:`fsr.data`, or a list of them."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Sample number ``index``."""
        ...


class Prepared(NamedTuple):
    """A sample ready for the network.

    Attributes:
        image: normalised image ``(3, height, width)``.
        labels: multi-hot image-level labels ``(C,)``.
        target: label map at the image's original size, or None.
        name: name of the sample.
    """

    image: Tensor
    labels: Tensor
    target: Tensor | None
    name: str


class PreparedDataset(Dataset[Prepared]):
    """Samples of a source by index, as normalised tensors.

    Args:
        source: where samples come from.
        indices: which of them.
        num_classes: number of classes that their labels must have.
        mean: mean of the normalisation per channel.
        std: standard deviation likewise.
        image_size: ``(height, width)`` to resize images to (bilinear, no antialiasing, as the
            released code does), None for their own size.
    """

    def __init__(
        self,
        source: SampleSource,
        indices: Sequence[int],
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        image_size: tuple[int, int] | None = None,
    ) -> None:
        self.source = source
        self.indices = indices
        self.num_classes = num_classes
        self.mean = list(mean)
        self.std = list(std)
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Prepared:
        """Return one sample, or raise an error that says which one could not be read."""
        index = self.indices[position]
        try:
            sample = self.source[index]
            image = TF.to_dtype(TF.pil_to_tensor(sample.image), torch.float32, scale=True)
        except Exception as error:
            raise ValueError(f"dataset: sample {index} cannot be read: {error}") from error
        where = f"dataset: sample {index} ({sample.name!r})"
        if tuple(sample.labels.shape) != (self.num_classes,):
            raise ValueError(
                f"{where}: expected labels of shape ({self.num_classes},), "
                f"got {tuple(sample.labels.shape)}"
            )
        if image.shape[0] != 3:
            raise ValueError(f"{where}: expected an RGB image, got mode {sample.image.mode!r}")
        if sample.target is not None and sample.target.shape != image.shape[1:]:
            raise ValueError(
                f"{where}: expected a target of the image's size {tuple(image.shape[1:])}, "
                f"got {tuple(sample.target.shape)}"
            )
        image = TF.normalize(image, self.mean, self.std)
        if self.image_size is not None:
            image = F.interpolate(
                image[None], self.image_size, mode="bilinear", align_corners=False
            )[0]
        return Prepared(image, sample.labels, sample.target, sample.name)


def own_share(total: int) -> range:
    """Return the indices of ``range(total)`` that fall to this process."""
    if is_distributed():
        return range(dist.get_rank(), total, dist.get_world_size())
    return range(total)


def batches(
    dataset: PreparedDataset, batch_size: int, num_workers: int
) -> Iterator[list[Prepared]]:
    """Yield batches of samples whose images have one size, in order where sizes allow."""
    # With a generator of its own the loader leaves torch's global state to the training around it.
    loader: Any = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_as_list,
        generator=torch.Generator(),
    )
    for samples in loader:
        sizes = dict.fromkeys(sample.image.shape for sample in samples)
        for size in sizes:
            yield [sample for sample in samples if sample.image.shape == size]


def _as_list(samples: list[Prepared]) -> list[Prepared]:
    """Leave a batch a list: images differ in size."""
    return samples
