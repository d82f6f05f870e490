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

from fsr._core.distributed import is_distributed
from fsr.cam import IGNORE
from fsr.data import Sample


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
        pixels: the image as it is, ``(height, width, 3)`` uint8, or None unless asked for.
    """

    image: Tensor
    labels: Tensor
    target: Tensor | None
    name: str
    pixels: Tensor | None = None


class Unreadable(NamedTuple):
    """A sample that cannot be used.

    Attributes:
        position: its index in the data set.
        error: what is wrong with it.
    """

    position: int
    error: str


class PreparedDataset(Dataset["Prepared | Unreadable"]):
    """Samples of a source by index, as normalised tensors.

    Args:
        source: where samples come from.
        indices: which of them.
        num_classes: number of classes that their labels must have.
        mean: mean of the normalisation per channel.
        std: standard deviation likewise.
        image_size: ``(height, width)`` to resize images to (bilinear, no antialiasing, as the
            released code does), None for their own size.
        keep_pixels: keep the images as they are too.
        skip_errors: return :class:`Unreadable` for a sample that cannot be used, do not raise.
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
        keep_pixels: bool = False,
        skip_errors: bool = False,
    ) -> None:
        self.source = source
        self.indices = indices
        self.num_classes = num_classes
        self.mean = list(mean)
        self.std = list(std)
        self.image_size = image_size
        self.keep_pixels = keep_pixels
        self.skip_errors = skip_errors

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Prepared | Unreadable:
        """Return one sample, or raise an error that says which one could not be read."""
        index = self.indices[position]
        try:
            return self._prepared(index)
        except ValueError as error:
            if not self.skip_errors:
                raise
            return Unreadable(index, str(error))

    def _prepared(self, index: int) -> Prepared:
        """Read, check and normalise one sample."""
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
        if sample.target is not None:
            self._check_labels(sample.target, where)
        pixels = TF.pil_to_tensor(sample.image).permute(1, 2, 0) if self.keep_pixels else None
        image = TF.normalize(image, self.mean, self.std)
        if self.image_size is not None:
            image = F.interpolate(
                image[None], self.image_size, mode="bilinear", align_corners=False
            )[0]
        return Prepared(image, sample.labels, sample.target, sample.name, pixels)

    def _check_labels(self, target: Tensor, where: str) -> None:
        """Raise if a label is out of range, before anything of the sample is counted."""
        wrong = ((target < 0) | (target > self.num_classes)) & (target != IGNORE)
        if bool(wrong.any()):
            raise ValueError(
                f"{where}: target: expected labels in 0..{self.num_classes} or {IGNORE}, got "
                f"{', '.join(map(str, sorted(set(target[wrong].tolist()))[:10]))}"
            )


def own_share(total: int) -> range:
    """Return the indices of ``range(total)`` that fall to this process."""
    if is_distributed():
        return range(dist.get_rank(), total, dist.get_world_size())
    return range(total)


def batches(
    dataset: Dataset[Prepared | Unreadable], batch_size: int, num_workers: int
) -> Iterator[list[Prepared] | Unreadable]:
    """Yield batches of samples whose images have one size, in order where sizes allow.

    Samples that cannot be used come one by one, before the batch that they were read with.
    """
    # With a generator of its own the loader leaves torch's global state to the training around it.
    loader: Any = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_as_list,
        generator=torch.Generator(),
    )
    for read in loader:
        samples = []
        for one in read:
            if isinstance(one, Unreadable):
                yield one
            else:
                samples.append(one)
        sizes = dict.fromkeys(sample.image.shape for sample in samples)
        for size in sizes:
            yield [sample for sample in samples if sample.image.shape == size]


def _as_list(samples: list[Prepared | Unreadable]) -> list[Prepared | Unreadable]:
    """Leave a batch a list: images differ in size."""
    return samples
