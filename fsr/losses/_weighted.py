"""URN's losses on labels of which some are wrong: weights by certainty, pretended under-fitting."""

from __future__ import annotations

import math

from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_floating,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError
from fsr.losses._pixel_entropy import pixel_cross_entropy


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, threshold: float = 0.05
) -> Tensor:
    r"""Cross entropy that counts ``threshold`` where a label is uncertain and 1 elsewhere.

    .. math:: L = \operatorname*{mean}_i\; w_i\, \mathrm{CE}_i,
              \qquad w_i = t \text{ if } \tfrac{W_i}{255} \le t \text{ else } 1

    The mean is over all pixels; those without a label count as 0.

    Args:
        logits: decoder scores, ``(B, C+1, h, w)``, background first; interpolated bilinearly to
            the labels' size.
        labels: pseudo labels, ``(B, H, W)`` integers: 0 background, c+1 foreground class c, 255 no
            label.
        weights: certainty W of the labels, ``(B, H, W)``, 0 to 255, see
            :func:`fsr.refine.uncertainty_weights`; without gradient.
        threshold: t, from 0 to 1.

    Returns:
        Scalar of at least 0, in at least float32; a 0 attached to the graph where no pixel has a
        label.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``logits`` is not floating point, ``labels`` is not integer, or ``threshold`` no
            number.
        ValueError: a label is neither a class of ``logits`` nor 255 (not tested under
            ``torch.compile``), or ``threshold`` is out of range.

    Source:
        Li et al., "Uncertainty Estimation via Response Scaling for Pseudo-mask Noise Mitigation in
        Weakly-supervised Semantic Segmentation" (URN), AAAI 2022; XMed-Lab/URN@5e56e5e.

    Example:
        >>> import torch
        >>> labels, weights = torch.tensor([[[0, 1]]]), torch.tensor([[[255, 10]]])
        >>> weighted_cross_entropy(torch.zeros(1, 2, 1, 2), labels, weights)  # 0.69 * 1.05 / 2
        tensor(0.3639)
    """
    entropy = pixel_cross_entropy(logits, labels)
    batch, height, width = labels.shape
    check_shape("weights", weights, "B H W", B=batch, H=height, W=width)
    check_same_device(logits=logits, labels=labels, weights=weights)
    if weights.is_floating_point():
        check_floating("weights", weights)
    check_some("labels", labels)
    check_between("threshold", threshold, 0.0, 1.0)
    uncertain = weights.detach().float() / 255 <= threshold
    return entropy.where(~uncertain, threshold * entropy).mean()


def underfit(loss_map: Tensor, threshold: float = 0.5, ceiling: float = 0.5) -> Tensor:
    r"""Pretend to under-fit: once the mean is below a threshold, no loss exceeds a ceiling.

    .. math:: l_i \mapsto \min(\max(l_i, 0), c) \text{ for all } i
              \text{ if } \operatorname{mean} l < t, \text{ else } l_i

    A batch that is easy on the whole no longer teaches its hardest pixels, whose labels are likely
    to be wrong: what is clamped has no gradient.

    Args:
        loss_map: loss of every pixel of a batch, such as :func:`fsr.losses.pixel_cross_entropy`,
            any shape; pixels without a label count as 0 in the mean.
        threshold: t.
        ceiling: c, at least 0.

    Returns:
        Losses of the same shape, in at least float32.

    Raises:
        ShapeError: ``loss_map`` holds no pixel.
        TypeError: ``loss_map`` is no tensor or not floating point, or an option no number.
        ValueError: an option is negative or NaN.

    Source:
        Li et al. (URN), AAAI 2022, its first segmentation only; XMed-Lab/URN@5e56e5e.

    Example:
        >>> import torch
        >>> underfit(torch.tensor([0.1, 0.2, 0.9]))
        tensor([0.1000, 0.2000, 0.5000])
        >>> underfit(torch.tensor([0.1, 0.9, 0.9]))
        tensor([0.1000, 0.9000, 0.9000])
    """
    if not isinstance(loss_map, Tensor):
        raise TypeError(f"loss_map: expected a tensor, got {type(loss_map).__name__}")
    check_floating("loss_map", loss_map)
    if loss_map.numel() == 0:
        raise ShapeError(f"loss_map: expected at least one pixel, got {tuple(loss_map.shape)}")
    check_between("threshold", threshold, 0.0, math.inf)
    check_between("ceiling", ceiling, 0.0, math.inf)
    losses = at_least_float32(loss_map)
    return losses.clamp(0.0, ceiling).where(losses.mean() < threshold, losses)
