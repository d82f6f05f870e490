"""Regions of an image by its CAM: background, uncertain and object."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.numerics import at_least_float32


def uncertain_regions(cam: Tensor, labels: Tensor, low: float, high: float) -> Tensor:
    r"""Sort the pixels of a CAM into background, uncertain and object.

    .. math:: r = 0 \text{ where } m \le \beta_l, \quad 2 \text{ where } m \ge \beta_h, \quad
              1 \text{ between}, \qquad m = \max_{c \text{ present}} M_c

    Both thresholds themselves count as sure.

    Args:
        cam: normalised CAM M, ``(B, C, H, W)``, 0 to 1.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        low: :math:`\beta_l`, in [0, 1], below ``high``.
        high: :math:`\beta_h`, in [0, 1].

    Returns:
        ``(B, H, W)`` int64 of 0, 1 and 2; all 0 for an image without a class.

    Raises:
        ShapeError: ``cam`` or ``labels`` has the wrong shape.
        TypeError: ``cam`` is not floating point, or a threshold no number.
        ValueError: the thresholds are out of range or order, or ``cam`` holds NaN or values outside
            0 to 1.

    Source:
        Ru et al., "Token Contrast for Weakly Supervised Semantic Segmentation", CVPR 2023
        (rulixiang/ToCo@e13514d).

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[[0.1, 0.25, 0.5, 0.7]]]])
        >>> uncertain_regions(cam, torch.ones(1, 1), 0.25, 0.7)
        tensor([[[0, 0, 1, 2]]])
    """
    batch, classes, _, _ = check_shape("cam", cam, "B C H W")
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(cam=cam, labels=labels)
    check_floating("cam", cam, finite=False)
    check_unit_interval(cam=cam, labels=labels)
    check_between("low", low, 0.0, 1.0)
    check_between("high", high, 0.0, 1.0)
    if low >= high:
        raise ValueError(f"low: expected a number below high={high}, got {low}")
    present = (labels > 0)[:, :, None, None]
    # Half-precision thresholds would be other numbers: 0.7 is 0.69922 in bfloat16.
    score = at_least_float32(cam).masked_fill(~present, 0.0).amax(dim=1)
    return (score > low).long() + (score >= high).long()
