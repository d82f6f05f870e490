"""Classification from the largest probability that any patch gives a class."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_floating, check_same_device, check_shape, check_unit_interval
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

EPS = 1e-7


def patch_score_loss(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Binary cross entropy of class probabilities, averaged over classes and batch.

    .. math:: L = -\frac{1}{B (C+1)} \sum_{b,c} \ell \log(s + \epsilon)
              + (1 - \ell) \log(1 - s + \epsilon), \qquad \epsilon = 10^{-7},

    with the scores s clamped to :math:`[\epsilon, 1 - \epsilon]`: outside they have no gradient,
    as in the released code.

    Args:
        scores: probabilities from :func:`fsr.pooling.patch_max`, background first,
            ``(B, C + 1)``, 0 to 1.
        labels: multi-hot labels, background first, ``(B, C + 1)``, any type, values in [0, 1]. The
            label of the background is 1 in every image,
            ``torch.nn.functional.pad(labels, (1, 0), value=1)``: the released code takes it from
            the ground truth, which image-level labels do not hold.

    Returns:
        Scalar of at least 0, in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there is no image or class.
        TypeError: ``scores`` is not floating point.
        ValueError: a value is outside 0 to 1 (not tested under ``torch.compile``).

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022; deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> import torch
        >>> patch_score_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    batch, classes = check_shape("scores", scores, "B C+1")
    channels = {"B": batch, "C+1": classes}
    check_shape("labels", labels, "B C+1", **channels)
    check_floating("scores", scores, finite=False)
    check_same_device(scores=scores, labels=labels)
    if min(batch, classes) < 1:
        raise ShapeError(f"scores: expected at least one image and class, got {(batch, classes)}")
    check_unit_interval(scores=scores, labels=labels)
    with no_autocast(scores):
        scores = at_least_float32(scores).clamp(EPS, 1 - EPS)
        labels = labels.to(scores.dtype)
        yes, no = (scores + EPS).log(), (1 - scores + EPS).log()
        return -(labels * yes + (1 - labels) * no).mean()
