"""Where labels of neighbouring patches differ, and weights from it for Eq. 8; not in the paper."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_between, check_integer, check_shape


def label_boundary(labels: Tensor) -> Tensor:
    """Mark the patches that have a neighbour with another label, up, down, left or right.

    Not in the paper. The unknown label 255 is a label as any other: around an object it lies
    between the object and the background, and both of its sides are marked. Patches at the rim of
    the image have fewer neighbours.

    Args:
        labels: one label per patch, ``(B, H, W)``, integers: 0 background, c + 1 class c, 255
            unknown.

    Returns:
        Boolean ``(B, H, W)``, True = a neighbour differs.

    Raises:
        ShapeError: ``labels`` has the wrong shape.
        TypeError: ``labels`` holds no integers.

    Source:
        The neighbourhood is the usual one of four.

    Example:
        >>> label_boundary(torch.tensor([[[0, 0, 0, 3, 3]]]))
        tensor([[[False, False,  True,  True, False]]])
    """
    check_shape("labels", labels, "B H W")
    check_integer("labels", labels)
    below = labels[:, 1:] != labels[:, :-1]
    right = labels[:, :, 1:] != labels[:, :, :-1]
    # Each difference marks both of its patches.
    rows = F.pad(below, (0, 0, 0, 1)) | F.pad(below, (0, 0, 1, 0))
    columns = F.pad(right, (0, 1)) | F.pad(right, (1, 0))
    return rows | columns


def boundary_weights(labels: Tensor, weight: float) -> Tensor:
    """Weights 1 + ``weight`` on the boundary of the labels and 1 elsewhere.

    Not in the paper. :func:`fsr.losses.uncertain_loss` divides by their sum, so that
    they say how much a token counts beside the others and leave the scale of the loss alone.

    Args:
        labels: one label per patch, ``(B, H, W)``, integers; see :func:`label_boundary`.
        weight: what a patch on a boundary counts more, finite and at least 0; without unit.

    Returns:
        Weights of at least 1, ``(B, H, W)``, float32.

    Raises:
        ShapeError: ``labels`` has the wrong shape.
        TypeError: ``labels`` holds no integers, or ``weight`` is no number.
        ValueError: ``weight`` is negative, infinite or NaN.

    Source:
        After Eq. 8.

    Example:
        >>> boundary_weights(torch.tensor([[[0, 0, 0, 3, 3]]]), 0.5)
        tensor([[[1.0000, 1.0000, 1.5000, 1.5000, 1.0000]]])
    """
    check_between("weight", weight, 0.0, math.inf)
    if math.isinf(weight):
        raise ValueError(f"weight: expected a finite number, got {weight}")
    return 1 + weight * label_boundary(labels).to(torch.float32)
