"""BECO's confident pixels: of each class the share with the clearest decision."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_finite,
    check_floating,
    check_integer,
    check_same_device,
    check_shape,
)
from fsr._core.labels import IGNORE
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError
from fsr.masking._label_range import check_label_range


@torch.no_grad()
def confident_share(scores: Tensor, labels: Tensor, share: float = 0.5) -> Tensor:
    r"""Mark the pixels of each class whose scores decide most clearly.

    The margin of a pixel is its largest score less the second. Of the n pixels of each label the
    :math:`\lfloor \text{share} \cdot n \rfloor` of largest margin are confident; of equal ones
    those that come first, row by row. Pixels without a label are not: there is none to trust.

    Args:
        scores: scores of one image, ``(C+1, h, w)``, at least two channels.
        labels: label map of the image, ``(h, w)`` integers from 0 to 255, 255 no label; it need not
            be the argmax of the scores.
        share: share of each class, from 0 to 1; safe against float error (0.29 of 100 is 29).

    Returns:
        Boolean ``(h, w)``, True = confident.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there are fewer than two channels
            or no pixel.
        TypeError: ``scores`` is not floating point, ``labels`` not integer, or ``share`` no number.
        ValueError: ``scores`` holds NaN or infinity or a label is out of range (neither is tested
            under ``torch.compile``), or ``share`` is out of range.

    Source:
        Rong et al., "Boundary-enhanced Co-training for Weakly Supervised Semantic Segmentation"
        (BECO), CVPR 2023; ShenghaiRong/BECO@6a57bed.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.6, 0.2, 0.1]], [[0.1, 0.4, 0.8, 0.9]]])
        >>> confident_share(scores, torch.tensor([[0, 0, 1, 1]]))
        tensor([[ True, False, False,  True]])
    """
    channels, height, width = check_shape("scores", scores, "C+1 h w")
    check_shape("labels", labels, "h w", h=height, w=width)
    check_same_device(scores=scores, labels=labels)
    check_floating("scores", scores)
    check_integer("labels", labels)
    if channels < 2 or min(height, width) < 1:
        raise ShapeError(
            f"scores: expected at least two channels and a pixel, got {tuple(scores.shape)}"
        )
    check_between("share", share, 0.0, 1.0)
    check_finite("scores", scores)
    check_label_range("labels", labels)

    first, second = at_least_float32(scores).flatten(1).topk(2, dim=0).values
    classes = labels.long().flatten()
    counts = torch.zeros(IGNORE + 1, dtype=torch.long, device=labels.device)
    counts = counts.scatter_add(0, classes, torch.ones_like(classes))
    # Sorting by margin and then, keeping that order, by class lines up each class, clearest first.
    order = (first - second).argsort(descending=True, stable=True)
    order = order[classes[order].argsort(stable=True)]
    begin = counts.cumsum(0) - counts
    sorted_classes = classes[order]
    rank = torch.arange(len(order), device=order.device) - begin[sorted_classes]
    kept = rank < _limits(counts, share)[sorted_classes]
    return torch.zeros_like(kept).scatter(0, order, kept).view(height, width)


def _limits(counts: Tensor, share: float) -> Tensor:
    """Return how many pixels of each label are confident."""
    product = counts.double() * share
    nearest = product.round()
    # If the share is the float nearest to n / count, then n is what was meant.
    meant = nearest / counts.clamp(min=1) == share
    limits = nearest.where(meant, product.floor()).long()
    limits[IGNORE] = 0
    return limits
