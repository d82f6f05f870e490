"""Multi-label classification from image-level labels: the first term of Eq. 10."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_same_device, check_shape, check_unit_interval
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Multi-label soft margin loss :math:`L_{cls}` of Eq. 10.

    The binary cross entropy of every class with its own sigmoid, averaged over classes and batch.

    Args:
        logits: class scores, ``(B, C)``, any real scale.
        labels: multi-hot image-level labels, ``(B, C)``, any type, values in [0, 1]; a row without
            any class is a negative example of all.

    Returns:
        Scalar of at least 0, in float32 for half-precision logits.

    Raises:
        ShapeError: ``logits`` or ``labels`` has the wrong shape, or there is no image or class.
        TypeError: ``logits`` is not floating point.
        ValueError: a label is outside [0, 1] (not tested under ``torch.compile``).

    Source:
        Section "Feature Self-reinforcement", Eq. 10.

    Example:
        >>> import torch
        >>> classification_loss(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]))
        tensor(0.6931)
    """
    batch, classes = check_shape("logits", logits, "B C")
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_floating("logits", logits)
    check_same_device(logits=logits, labels=labels)
    if min(batch, classes) < 1:
        raise ShapeError(f"logits: expected at least one image and class, got {(batch, classes)}")
    check_unit_interval(labels=labels)
    scores = at_least_float32(logits)
    return F.multilabel_soft_margin_loss(scores, labels.to(scores.dtype))
