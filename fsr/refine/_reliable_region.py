"""RRM's reliable regions: pixels that CAM and dense CRF are both sure of, the others unknown."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_dense,
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.labels import BACKGROUND, ignore_label
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError

ArrayOrTensor = TypeVar("ArrayOrTensor", Tensor, NDArray[Any])

# Exponents of the background 1 - max CAM: it shrinks as they grow. Two of them go through the CRF.
LOW_POWER, HIGH_POWER = 4, 32
# A class is sure above the value at this rank of its CAM values above the floor, exactly 3 / 5.
RANK = (3, 5)
FLOOR = 0.1
SURE = 0.8


def cam_with_background(cam: Tensor, labels: Tensor, power: float) -> Tensor:
    r"""Put the background :math:`(1 - \max_c M_c)^p` before the CAMs of the present classes.

    Args:
        cam: normalised CAMs, ``(..., C, h, w)``, 0 to 1.
        labels: multi-hot image-level labels, ``(..., C)``; a class is present where they are > 0.
        power: p; the background shrinks as it grows.

    Returns:
        ``(..., C+1, h, w)``, background first; absent classes are 0.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: ``cam`` is not floating point, an argument no tensor, or ``power`` no number.
        ValueError: ``cam`` holds NaN or values outside 0 to 1, or ``power`` is not positive.

    Source:
        Zhang et al., "Reliability Does Matter" (RRM), AAAI 2020; p = 4 and 32 there.

    Example:
        >>> cam = torch.tensor([[[0.5, 0.0]], [[0.9, 1.0]]])
        >>> cam_with_background(cam, torch.tensor([1, 0]), 2)[:, 0]
        tensor([[0.2500, 1.0000],
                [0.5000, 0.0000],
                [0.0000, 0.0000]])
    """
    for name, value in (("cam", cam), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if cam.ndim < 3 or min(cam.shape[-3:]) < 1:
        raise ShapeError(
            f"cam: expected (..., C, h, w) with a class and a pixel, got {tuple(cam.shape)}"
        )
    if labels.shape != cam.shape[:-2]:
        raise ShapeError(
            f"labels: expected shape {tuple(cam.shape[:-2])} as cam has, got {tuple(labels.shape)}"
        )
    check_floating("cam", cam, finite=False)
    check_same_device(cam=cam, labels=labels)
    check_dense("labels", labels)
    check_multi_hot("labels", labels)
    check_unit_interval(cam=cam)
    check_between("power", power, 0.0, float("inf"), inclusive=False)
    shown = cam.masked_fill(~(labels > 0)[..., None, None], 0.0)
    # Interpolated values may be a little above 1.
    background = (1 - shown.amax(dim=-3, keepdim=True)).clamp(min=0) ** power
    return torch.cat([background, shown], dim=-3)


def reliable_region(
    cam: ArrayOrTensor, labels: ArrayOrTensor, crf_low: ArrayOrTensor, crf_high: ArrayOrTensor
) -> ArrayOrTensor:
    r"""Label map of one image: a label where CAM and CRF are both sure, 255 elsewhere.

    The label of a pixel is the strongest class of ``crf_low``, and background where ``crf_high``
    says so. A pixel keeps it where both are sure:

    - the CRF, where the largest of ``crf_high``'s background and ``crf_low``'s classes is at least
      0.8;
    - the CAM. Let the CAMs of the present classes compete with the background
      :math:`(1 - \max_c M_c)^{32}`, and look at every channel that occurs among the winners of
      ``crf_low`` where it wins by CAM: a class is sure above the value at rank
      :math:`\lfloor 0.6\, n \rfloor`, from 0, of its n values above 0.1 in ascending order, the
      background above 0.8. A class without such a value is sure nowhere; the released code stops
      there with an error.

    All other pixels are unknown, and so is one that ``crf_low`` calls background and ``crf_high``
    does not. The two need not be sure of the same class.

    Args:
        cam: normalised CAMs of the image, ``(C, h, w)``, 0 to 1.
        labels: multi-hot image-level labels, ``(C,)``; a class is present where they are > 0.
        crf_low: dense CRF of :func:`cam_with_background` with power 4, ``(C+1, h, w)``; absent
            classes are 0. Its background is large, so that its classes are few and sure.
        crf_high: the same with power 32, ``(C+1, h, w)``; what is background here is so surely.

    Returns:
        ``(h, w)`` int64: 0 background, c+1 class c, 255 unknown; an array for arrays, a tensor on
        their device for tensors.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: an argument is of another kind than ``cam``, or maps are not floating point.
        ValueError: maps hold NaN or values outside 0 to 1.

    Source:
        Zhang et al., "Reliability Does Matter: An End-to-End Weakly Supervised Semantic
        Segmentation Approach" (RRM), AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.3, 0.6, 0.9]]])
        >>> low, high = (cam_with_background(cam, torch.ones(1), p) for p in (4, 32))
        >>> reliable_region(cam, torch.ones(1), low, high)
        tensor([[  0, 255, 255,   1]])
    """
    maps = {"cam": cam, "labels": labels, "crf_low": crf_low, "crf_high": crf_high}
    if isinstance(cam, np.ndarray):
        for name, value in maps.items():
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{name}: expected an array as cam is, got {type(value).__name__}")
        # Copies: an array may be one that may not be written to, which a tensor cannot say.
        result = _reliable_region(**{name: torch.tensor(value) for name, value in maps.items()})
        return result.numpy()
    return _reliable_region(**maps)


@torch.no_grad()
def _reliable_region(cam: Tensor, labels: Tensor, crf_low: Tensor, crf_high: Tensor) -> Tensor:
    """Return the label map from tensors, see :func:`reliable_region`."""
    classes, height, width = check_shape("cam", cam, "C h w")
    check_shape("labels", labels, "C", C=classes)
    sizes = {"C+1": classes + 1, "h": height, "w": width}
    check_shape("crf_low", crf_low, "C+1 h w", **sizes)
    check_shape("crf_high", crf_high, "C+1 h w", **sizes)
    check_same_device(cam=cam, labels=labels, crf_low=crf_low, crf_high=crf_high)
    check_floating("crf_low", crf_low, finite=False)
    check_floating("crf_high", crf_high, finite=False)
    scores = cam_with_background(at_least_float32(cam), labels, HIGH_POWER)
    low, high = at_least_float32(crf_low), at_least_float32(crf_high)
    check_unit_interval(crf_low=low, crf_high=high)

    winner, sure_background = low.argmax(dim=0), high.argmax(dim=0) == BACKGROUND
    by_crf = torch.maximum(high[0], low[1:].amax(dim=0)) >= SURE
    sure = by_crf & _sure_by_cam(scores, winner)
    unknown = ignore_label(classes)
    label = winner.masked_fill(winner == BACKGROUND, unknown).masked_fill(
        sure_background, BACKGROUND
    )
    return label.masked_fill(~sure, unknown)


def _sure_by_cam(scores: Tensor, winner: Tensor) -> Tensor:
    """Where the CAM is sure, ``(h, w)``, from scores ``(C+1, h, w)`` and the CRF's winners."""
    channels = torch.arange(len(scores), device=scores.device)[:, None]
    occurs = (winner.flatten() == channels).any(dim=1)
    flat = scores.flatten(1)
    own = flat.where(flat.argmax(dim=0) == channels, 0.0)
    # Values up to the floor sort to the front: the rank counts from behind them.
    counted = own > FLOOR
    count = counted.sum(dim=1, keepdim=True)
    rank = own.shape[1] - count + count * RANK[0] // RANK[1]
    ascending = own.masked_fill(~counted, 0.0).sort(dim=1).values
    bound = ascending.gather(1, rank.clamp(max=own.shape[1] - 1))
    # Without a value above the floor no rank means anything, and nothing is above 1.
    bound = bound.masked_fill(count == 0, torch.inf)
    bound[0] = SURE
    return ((own > bound) & occurs[:, None]).any(dim=0).view_as(winner)
