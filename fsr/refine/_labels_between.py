"""Labels from two refined maps, one with an easy and one with a strict background."""

from __future__ import annotations

from torch import Tensor

from fsr._core.boxes import check_box, outside_box
from fsr._core.checks import check_floating, check_same_device, check_shape
from fsr.cam import BACKGROUND, ignore_label


def labels_between(low_maps: Tensor, high_maps: Tensor, box: Tensor | None = None) -> Tensor:
    """Label map of pixels on which a low and a high background score agree enough.

    Where the background wins in both maps, the pixel is background; where it wins in the high map
    alone, it is unknown; elsewhere it takes the class that wins in the high map. Of equal scores
    the first channel wins.

    Args:
        low_maps: maps in which the background had a low score, ``(B, C + 1, H, W)``, background
            first.
        high_maps: maps in which it had a high score, of the same shape.
        box: the real pixels of padded crops, ``(B, 4)`` integers top, bottom, left, right,
            half-open, as :class:`fsr.data.RandomRescaleCrop` gives them; outside is unknown.

    Returns:
        Label map ``(B, H, W)``, int64: 0 background, c + 1 class c, 255 unknown.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: maps are not floating point, or ``box`` is not of integers.
        ValueError: a box is empty or leaves its image.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> import torch
        >>> low = torch.tensor([[[[0.9, 0.3, 0.3]], [[0.1, 0.7, 0.7]]]])
        >>> high = torch.tensor([[[[0.9, 0.6, 0.4]], [[0.1, 0.4, 0.6]]]])
        >>> labels_between(low, high)
        tensor([[[  0, 255,   1]]])
    """
    batch, channels, height, width = check_shape("low_maps", low_maps, "B C H W")
    check_shape("high_maps", high_maps, "B C H W", B=batch, C=channels, H=height, W=width)
    check_same_device(low_maps=low_maps, high_maps=high_maps)
    check_floating("low_maps", low_maps)
    check_floating("high_maps", high_maps)
    if box is not None:
        check_same_device(low_maps=low_maps, box=box)
        check_box(box, batch, height, width)
    lenient, strict = low_maps.argmax(dim=1), high_maps.argmax(dim=1)
    unknown = (strict == BACKGROUND) & (lenient != BACKGROUND)
    if box is not None:
        unknown = unknown | outside_box(box.to(strict.device), height, width)
    return strict.masked_fill(unknown, ignore_label(max(1, channels - 1)))
