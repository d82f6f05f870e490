"""The rim of a mask and what lies inside it, by dilation and erosion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_bool, check_positive_int
from fsr.errors import ShapeError


class MaskRim(NamedTuple):
    """A mask taken apart; both boolean, of the mask's shape.

    Attributes:
        boundary: pixels within reach of the mask and of what is outside it.
        inside: pixels of the mask with nothing but the mask within reach.
    """

    boundary: Tensor
    inside: Tensor


def boundary(mask: Tensor, size: int = 1) -> MaskRim:
    r"""Boundary of a mask, its dilation without its erosion, and the inside, its erosion.

    Both are by a square of :math:`2 \cdot \text{size} + 1` pixels. What lies outside the image
    counts for neither, so that the image's edge is no boundary. A mask that is True everywhere, or
    nowhere, has neither boundary nor inside.

    Args:
        mask: boolean, ``(H, W)`` or ``(B, H, W)``, each image on its own.
        size: how far the boundary reaches on either side, in pixels, at least 1.

    Returns:
        ``(boundary, inside)``, booleans of the mask's shape.

    Raises:
        ShapeError: ``mask`` has the wrong shape or no pixel.
        TypeError: ``mask`` is not boolean, or ``size`` no integer.
        ValueError: ``size`` is below 1.

    Source:
        Rong et al., "Boundary-enhanced Co-training for Weakly Supervised Semantic Segmentation"
        (BECO), CVPR 2023; size 1 in ShenghaiRong/BECO@6a57bed.

    Example:
        >>> rim, inside = boundary(torch.tensor([[False, False, True, True, True]]))
        >>> print(rim.int(), inside.int())
        tensor([[0, 1, 1, 0, 0]], dtype=torch.int32) tensor([[0, 0, 0, 1, 1]], dtype=torch.int32)
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask: expected a tensor (H, W) or (B, H, W), got {type(mask).__name__}")
    check_bool("mask", mask)
    if mask.ndim not in (2, 3) or min(mask.shape[-2:]) < 1:
        raise ShapeError(f"mask: expected (H, W) or (B, H, W) with pixels, got {tuple(mask.shape)}")
    check_positive_int("size", size)
    # One channel for the mask and one for the rest: the erosion of one is what the dilation of the
    # other leaves. Pooling pads with minus infinity, which is neutral.
    sides = torch.stack([mask, ~mask], dim=-3).float()
    near = F.max_pool2d(sides, 2 * size + 1, stride=1, padding=size) > 0
    dilated, rest = near.unbind(dim=-3)
    constant = mask.flatten(-2).all(dim=-1)[..., None, None]
    return MaskRim(boundary=dilated & rest, inside=~rest & ~constant)
