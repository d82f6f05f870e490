"""A data set whose image labels are partly wrong, to see what a method bears."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fsr._core.checks import check_between
from fsr._core.spelled import describe
from fsr.data._sample import Sample
from fsr.data._stream import derive_seed


class NoisyLabels:
    """Another data set with errors in its image labels, the same at every reading.

    Every class that an image shows is wrong with probability ``share``: half of these are dropped,
    half become another class that the image does not show. An image may lose its only class. Masks
    and images stay as they are.

    Args:
        dataset: indexes to :class:`fsr.data.Sample` and has ``class_names``.
        share: probability that a label is wrong, in [0, 1].
        seed: what the errors are drawn from, together with the image's index.

    Raises:
        ValueError: ``share`` is outside [0, 1].

    Example:
        >>> from fsr.data import Scenes
        >>> clean = Scenes(50, seed=1, image_size=32)
        >>> noisy = NoisyLabels(clean, share=0.2)
        >>> sum(not torch.equal(noisy[i].labels, clean[i].labels) for i in range(50))
        16
    """

    def __init__(self, dataset: Any, share: float, *, seed: int = 0) -> None:
        check_between("share", share, 0.0, 1.0)
        if not hasattr(dataset, "class_names"):
            raise TypeError(f"dataset: expected one with class_names, got {type(dataset).__name__}")
        self.dataset, self.share, self.seed = dataset, share, seed
        self.class_names: tuple[str, ...] = tuple(dataset.class_names)

    def __repr__(self) -> str:
        return f"NoisyLabels({describe(self.dataset)}, share={self.share}, seed={self.seed})"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.dataset[index]
        generator = np.random.default_rng(derive_seed(self.seed, index % len(self)))
        labels = sample.labels.clone()
        shown = torch.nonzero(sample.labels > 0).flatten().tolist()
        absent = torch.nonzero(sample.labels == 0).flatten().tolist()
        for class_index in shown:
            if generator.random() >= self.share:
                continue
            labels[class_index] = 0
            if absent and generator.random() < 0.5:
                labels[absent.pop(generator.integers(len(absent)))] = 1
        return sample._replace(labels=labels)
