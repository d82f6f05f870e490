"""Scores as heat over their image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_picture
from fsr._core.checks import check_shape, check_unit_interval


def heatmap_overlay(image: Image.Image, scores: Tensor) -> Image.Image:
    """Lay scores over a grey image, such as a class activation map: blue is low, red is high.

    Args:
        image: the image.
        scores: ``(H, W)`` between 0 and 1, of any size; resized bilinearly to the image's.

    Returns:
        RGB image of the image's size.

    Raises:
        ShapeError: ``scores`` has another shape.
        ValueError: ``scores`` holds NaN or values outside 0 to 1.

    Example:
        >>> import torch
        >>> red, _, blue = heatmap_overlay(Image.new("RGB", (1, 1)), torch.ones(1, 1)).getpixel(
        ...     (0, 0))
        >>> red > blue
        True
    """
    check_picture("image", image)
    check_shape("scores", scores, "H W")
    check_unit_interval(scores=scores)
    size = (image.height, image.width)
    resized = F.interpolate(scores[None, None].float(), size, mode="bilinear")
    colour = heat_colours(resized[0, 0])
    grey = np.asarray(image.convert("L").convert("RGB")) / 255
    return Image.fromarray(np.uint8(255 * (0.45 * grey + 0.55 * colour)))


def heat_colours(scores: Tensor) -> NDArray[np.float32]:
    """Return scores ``(H, W)`` between 0 and 1 as colours ``(H, W, 3)``, blue to red.

    Example:
        >>> import torch
        >>> heat_colours(torch.tensor([[0.0, 1.0]])).tolist()
        [[[0.0, 0.0, 0.5], [0.5, 0.0, 0.0]]]
    """
    score = scores.detach().float().cpu().numpy()[:, :, None]
    channels = [np.clip(1.5 - np.abs(4 * score - peak), 0, 1) for peak in (3.0, 2.0, 1.0)]
    return np.concatenate(channels, axis=2)
