"""BECO's co-training: two networks learn from confident labels, and elsewhere from each other."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_floating,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.labels import ignore_label
from fsr.losses._pixel_entropy import check_classes, check_logits, entropy_of, scores_at

# No channel has this number: every pixel has a decision to learn from.
NEVER = -1


class CotrainingParts(NamedTuple):
    """The four terms of a co-training loss; scalars.

    Attributes:
        ce1: the first network on the confident labels.
        cot1: the first network on the second one's decisions, elsewhere.
        ce2: the second network on the confident labels.
        cot2: the second network on the first one's decisions, elsewhere.
    """

    ce1: Tensor
    cot1: Tensor
    ce2: Tensor
    cot2: Tensor


class CotrainingLoss(NamedTuple):
    """A co-training loss and what it is the sum of.

    Attributes:
        total: scalar.
        parts: the four terms.
    """

    total: Tensor
    parts: CotrainingParts


def cotraining_loss(
    logits1: Tensor,
    logits2: Tensor,
    labels: Tensor,
    confident: Tensor,
    boundary: Tensor,
    *,
    confident_weight: float = 0.2,
    unconfident_weight: float = 0.0,
) -> CotrainingLoss:
    r"""Cross entropy on confident labels, and on the other network's decisions elsewhere.

    .. math:: L = \sum_{k=1}^{2} \operatorname*{mean}_i\, \mathrm{CE}(z^k_i, y_i)\, c_i (1 + w b_i)
              + \operatorname*{mean}_i\, \mathrm{CE}(z^k_i, \operatorname{argmax} z^{3-k}_i)\,
              (1 - c_i) (1 + w' b_i)

    with the confidence c and the boundary b. Means are over all pixels, and the argmax has no
    gradient. The released code has a pair of weights for each network, the second of which is named
    after the inside of a mask, a leftover; here both have one.

    Args:
        logits1: scores of the first network, ``(B, C+1, h, w)``, background first; interpolated
            bilinearly to the labels' size.
        logits2: scores of the second, likewise.
        labels: ``(B, H, W)`` integers: 0 background, c+1 foreground class c, 255 no label, which
            counts as 0 where it is confident.
        confident: c, ``(B, H, W)``, boolean or numbers from 0 to 1.
        boundary: b, ``(B, H, W)``, boolean or numbers from 0 to 1, such as
            :func:`fsr.masking.boundary` of the mask that images were mixed by.
        confident_weight: w, what a confident pixel on a boundary counts more.
        unconfident_weight: w', the same of the others.

    Returns:
        ``(total, parts)``: the sum, and its terms ``ce1``, ``cot1``, ``ce2`` and ``cot2``; scalars
        of at least 0 in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: logits are not floating point, ``labels`` not integer, or a weight no number.
        ValueError: a label is neither a class of the logits nor 255 (not tested under
            ``torch.compile``), or a weight is negative, infinite or NaN.

    Source:
        Rong et al., "Boundary-enhanced Co-training for Weakly Supervised Semantic Segmentation"
        (BECO), CVPR 2023; w = 0.2 and w' = 0 in ShenghaiRong/BECO@6a57bed.

    Example:
        >>> import torch
        >>> logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
        >>> confident, rim = torch.tensor([[[True, False]]]), torch.tensor([[[True, True]]])
        >>> total, parts = cotraining_loss(logits, logits, labels, confident, rim)
        >>> parts.ce1, parts.cot1  # half of ln 2, the first times 1.2
        (tensor(0.4159), tensor(0.3466))
    """
    channels = _check_inputs(logits1, logits2, labels, confident, boundary)
    for name, weight in (
        ("confident_weight", confident_weight),
        ("unconfident_weight", unconfident_weight),
    ):
        check_between(name, weight, 0.0, math.inf)
        if math.isinf(weight):
            raise ValueError(f"{name}: expected a finite number, got {weight}")
    unknown = ignore_label(max(1, channels - 1))
    check_classes(labels, channels, unknown)

    scores = [scores_at(logits, labels) for logits in (logits1, logits2)]
    taken = confident.detach().to(scores[0].dtype)
    rim = boundary.detach().to(scores[0].dtype)
    trusted = taken * (1 + confident_weight * rim)
    doubted = (1 - taken) * (1 + unconfident_weight * rim)
    decisions = [values.detach().argmax(dim=1) for values in scores]
    terms = []
    for own, other in zip(scores, reversed(decisions), strict=True):
        terms.append((entropy_of(own, labels, unknown) * trusted).mean())
        terms.append((entropy_of(own, other, NEVER) * doubted).mean())
    return CotrainingLoss(total=sum(terms[1:], terms[0]), parts=CotrainingParts(*terms))


def _check_inputs(
    logits1: Tensor, logits2: Tensor, labels: Tensor, confident: Tensor, boundary: Tensor
) -> int:
    """Raise unless types, shapes and devices fit each other; return the number of channels."""
    channels = check_logits("logits1", logits1, labels)
    batch, height, width = labels.shape
    check_shape("logits2", logits2, "B C+1 h w", **{"B": batch, "C+1": channels})
    check_logits("logits2", logits2, labels)
    check_shape("confident", confident, "B H W", B=batch, H=height, W=width)
    check_shape("boundary", boundary, "B H W", B=batch, H=height, W=width)
    check_same_device(
        logits1=logits1, logits2=logits2, labels=labels, confident=confident, boundary=boundary
    )
    check_some("labels", labels)
    for name, value in (("confident", confident), ("boundary", boundary)):
        if value.is_floating_point():
            check_floating(name, value)
    return channels
