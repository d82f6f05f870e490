"""One item of a data set, the same for every reader."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image
from torch import Tensor


class Sample(NamedTuple):
    """An image, what is known about it, and its name.

    Attributes:
        image: RGB photograph, ``height`` by ``width`` pixels.
        labels: multi-hot image-level labels, ``(C,)`` float; background is not among them.
        target: label map ``(height, width)`` int64 with 0 = background, c + 1 = class c and
            255 = ignore, or None where there is no mask. For evaluation only.
        name: file name without extension.

    Example:
        >>> import torch
        >>> sample = Sample(Image.new("RGB", (4, 3)), torch.tensor([0.0, 1.0]), None, "0001")
        >>> sample.image.size, sample.labels.tolist(), sample.target, sample.name
        ((4, 3), [0.0, 1.0], None, '0001')
    """

    image: Image.Image
    labels: Tensor
    target: Tensor | None
    name: str
