"""The classes of many images in three arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class LabelSets:
    """Image-level labels of N images, of which many have the same.

    Args:
        sets: class indices of each distinct set.
        codes: index of each image's set, ``(N,)``.
        num_classes: number of classes C.

    Example:
        >>> LabelSets([(), (0, 2)], np.array([1, 0]), num_classes=3).multi_hot(0).tolist()
        [1.0, 0.0, 1.0]
    """

    def __init__(
        self, sets: Iterable[Iterable[int]], codes: NDArray[np.int32], num_classes: int
    ) -> None:
        listed = [tuple(each) for each in sets]
        flat = itertools.chain.from_iterable(listed)
        self._codes = codes
        self._classes = torch.from_numpy(np.fromiter(flat, np.int64))
        self._ends = np.cumsum([0, *map(len, listed)])
        self.num_classes = num_classes

    def multi_hot(self, image: int) -> Tensor:
        """Return the labels of one image, ``(C,)``.

        Raises:
            IndexError: there is no such image.
        """
        code = self._codes[image]
        labels = torch.zeros(self.num_classes)
        labels[self._classes[self._ends[code] : self._ends[code + 1]]] = 1.0
        return labels

    def counts(self, images: int) -> list[int]:
        """Return how many of the first so many images have each class."""
        of_sets = np.bincount(self._codes[:images], minlength=len(self._ends) - 1)
        each = np.repeat(of_sets, np.diff(self._ends))
        found = np.zeros(self.num_classes, dtype=np.int64)
        np.add.at(found, self._classes.numpy(), each)
        counts: list[int] = found.tolist()
        return counts
