"""Thresholds of Eq. 3 for every class of every image, by two-threshold Otsu; not in the paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_between,
    check_floating,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError

BINS = 32


def otsu_thresholds(
    cam: Tensor, low: float = 0.2, high: float = 0.7, *, bins: int = BINS
) -> tuple[Tensor, Tensor]:
    r"""Two thresholds that part the scores of each map best into three groups.

    Not in the paper. The scores of a map are counted in bins of equal width on [0, 1]. Of all pairs
    of bin borders, the one is taken for which the variance between the three groups,
    :math:`\sum_g w_g (\mu_g - \mu)^2` with a group's share :math:`w_g` and mean bin
    :math:`\mu_g`, is largest; of equal pairs, the one whose lower border is lowest, then whose
    upper border is lowest.

    A map whose scores fill fewer than three bins has no three groups, such as a constant map or
    that of an absent class: it keeps ``low`` and ``high``.

    Args:
        cam: normalised CAM (Eq. 2), ``(B, C, h, w)``, 0 to 1, of any resolution.
        low: lower threshold of maps without three groups, 0 to 1, below ``high``.
        high: upper threshold of maps without three groups, 0 to 1.
        bins: number of bins, at least 3.

    Returns:
        Lower and upper thresholds, ``(B, C)`` each, 0 to 1, in the CAM's type but at least float32.

    Raises:
        ShapeError: ``cam`` has the wrong shape or no pixel.
        TypeError: ``cam`` is not floating point, or an option has the wrong type.
        ValueError: a threshold is out of range, ``low >= high``, or ``bins`` is below 3.

    Source:
        Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on
        Systems, Man, and Cybernetics, 1979, which extends its criterion to several thresholds.

    Example:
        >>> cam = torch.tensor([0.0, 0.1, 0.4, 0.5, 0.9, 1.0]).view(1, 1, 2, 3)
        >>> otsu_thresholds(cam)
        (tensor([[0.1250]]), tensor([[0.5312]]))
    """
    _, _, height, width = check_shape("cam", cam, "B C h w")
    check_floating("cam", cam)
    if min(height, width) < 1:
        raise ShapeError(f"cam: expected at least one pixel, got {tuple(cam.shape)}")
    check_between("low", low, 0, 1)
    check_between("high", high, 0, 1)
    if low >= high:
        raise ValueError(f"low: expected a number below high={high}, got {low}")
    check_positive_int("bins", bins)
    if bins < 3:
        raise ValueError(f"bins: expected at least 3, got {bins}")

    scores = at_least_float32(cam.detach())
    counts = _histogram(scores, bins)
    few = (counts > 0).sum(dim=2) < 3
    lower, upper = (border.to(scores.dtype) / bins for border in _best_borders(counts))
    # masked_fill takes the number as it is; a tensor of it would be copied to the device.
    return lower.masked_fill(few, low), upper.masked_fill(few, high)


def strongest_with_thresholds(
    cam: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score of the strongest class of every pixel, with the two thresholds of that class.

    Not in the paper, where the thresholds are the same for all classes.

    Args:
        cam: normalised CAM (Eq. 2) of the present classes, 0 for the others, ``(B, C, h, w)``.
        low: lower threshold of every class, ``(B, C)``, 0 to 1.
        high: upper threshold of every class, ``(B, C)``, 0 to 1.

    Returns:
        Score, lower and upper threshold, ``(B, h, w)`` each; of equal scores the first class
        counts.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.

    Source:
        After Eq. 3, whose score is the maximum over the classes.

    Example:
        >>> cam = torch.tensor([[[[0.3]], [[0.6]]]])
        >>> strongest_with_thresholds(cam, torch.tensor([[0.1, 0.2]]), torch.tensor([[0.8, 0.9]]))
        (tensor([[[0.6000]]]), tensor([[[0.2000]]]), tensor([[[0.9000]]]))
    """
    batch, classes, _, _ = check_shape("cam", cam, "B C h w")
    check_same_device(cam=cam, low=low, high=high)
    check_floating("cam", cam)
    score, strongest = cam.max(dim=1)
    found = []
    for name, value in (("low", low), ("high", high)):
        check_shape(name, value, "B C", B=batch, C=classes)
        check_floating(name, value)
        found.append(value.gather(1, strongest.flatten(1)).view_as(score))
    return score, found[0], found[1]


def _histogram(cam: Tensor, bins: int) -> Tensor:
    """Count the scores of every map in bins of equal width: ``(B, C, bins)``, int64."""
    # Clamped as integers: of a NaN, which is refused outside a compiled graph only, and of scores
    # that overshoot by rounding, the bin must still exist.
    index = (cam.flatten(2) * bins).long().clamp(0, bins - 1)
    # scatter_add where histc and bincount would take one map at a time or wait for the device.
    # Integers add up to the same in any order.
    counts = index.new_zeros(*index.shape[:2], bins)
    return counts.scatter_add(2, index, index.new_ones(()).expand_as(index))


def _best_borders(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two borders, in bins, of largest between-class variance: ``(B, C)`` each."""
    bins = counts.shape[-1]
    # In double precision the moments are exact, so equal pairs come out equal.
    positions = torch.arange(bins, device=counts.device)
    size, moment = (F.pad(v.cumsum(-1), (1, 0)) for v in (counts, counts * positions))
    first, second = torch.triu_indices(bins - 1, bins - 1, 1, device=counts.device) + 1
    spread = torch.zeros((), dtype=torch.float64, device=counts.device)
    last = torch.full_like(first, bins)
    for start, end in ((torch.zeros_like(first), first), (first, second), (second, last)):
        weight = (size[..., end] - size[..., start]).double()
        total = (moment[..., end] - moment[..., start]).double()
        # The variance between groups, but for terms that all pairs share; an empty group adds 0.
        spread = spread + total.square() / weight.clamp(min=1)
    best = spread.argmax(dim=-1)
    return first[best], second[best]
