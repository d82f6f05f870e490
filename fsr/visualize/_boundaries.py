"""Boundaries of a label map drawn on its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fsr._core.arguments import check_picture
from fsr._core.checks import check_integer, check_positive_int, check_shape
from fsr.metrics import boundary_distance


def boundary_overlay(
    image: Image.Image,
    labels: Tensor,
    *,
    colour: Sequence[int] | NDArray[np.integer[Any]] = (255, 0, 0),
    width: int | None = None,
) -> Image.Image:
    """Draw the boundaries between the labels of a map on its image (Fig. 5, top).

    Unlike the contours of :func:`fsr.visualize.overlay`, which lie inside a class's region in the
    class's colour, these have one colour, so that several maps can be drawn on one image.

    Args:
        image: the image, ``height`` by ``width`` pixels.
        labels: ``(height, width)`` integers of any range; an ignored region (255) has a boundary
            like any other.
        colour: red, green and blue, 0 to 255.
        width: pixels on either side of the boundary; None takes a 600th of the longer side, at
            least 1.

    Returns:
        RGB image of the same size.

    Raises:
        ShapeError: ``labels`` does not have the image's size.
        TypeError: ``labels`` is not an integer tensor, or ``width`` no integer.
        ValueError: ``colour`` is no colour, or ``width`` is below 1.

    Source:
        Fig. 5 (top).

    Example:
        >>> import torch
        >>> grey = Image.new("RGB", (4, 1), (100, 100, 100))
        >>> picture = boundary_overlay(grey, torch.tensor([[0, 0, 0, 1]]))
        >>> [picture.getpixel((x, 0))[0] for x in range(4)]
        [100, 100, 255, 255]
    """
    check_picture("image", image)
    check_shape("labels", labels, "height width", height=image.height, width=image.width)
    check_integer("labels", labels)
    if width is None:
        width = max(1, round(max(image.size) / 600))
    check_positive_int("width", width)
    rgb = np.asarray(colour)
    if rgb.shape != (3,) or rgb.dtype.kind not in "iu" or rgb.min() < 0 or rgb.max() > 255:
        raise ValueError(f"colour: expected red, green and blue in 0..255, got {colour!r}")
    near = boundary_distance(labels, width) <= width
    picture = np.array(image.convert("RGB"))
    picture[near.cpu().numpy()] = rgb
    return Image.fromarray(picture)
