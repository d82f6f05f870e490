"""Cross entropy on pseudo labels, background and foreground balanced: a term of Eq. 10."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_integer, check_shape
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError


def balanced_segmentation_loss(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    r"""Segmentation loss :math:`L_{seg}` of Eq. 10, background and foreground weighing the same.

    .. math:: L_{seg} = \tfrac12 \frac{1}{|bg|} \sum_{i \in bg} \mathrm{CE}_i
              + \tfrac12 \frac{1}{|fg|} \sum_{i \in fg} \mathrm{CE}_i,

    where bg holds the pixels labelled 0 and fg those of any foreground class, over the batch. A
    part without pixels adds 0; without any labelled pixel the loss is a 0 attached to the graph.

    Args:
        logits: decoder scores, ``(B, C+1, h, w)``, background first; interpolated bilinearly to
            the labels' size.
        labels: pseudo labels, ``(B, H, W)`` integers: 0 background, c+1 foreground class c,
            ``ignore_index`` no label.
        ignore_index: label of pixels to leave out.

    Returns:
        Scalar of at least 0, in float32 for half-precision logits.

    Raises:
        ShapeError: ``logits`` or ``labels`` has the wrong shape.
        TypeError: ``logits`` is not floating point or ``labels`` is not integer.
        ValueError: a label is neither a class of ``logits`` nor ``ignore_index`` (not tested under
            ``torch.compile``).

    Source:
        Section "Feature Self-reinforcement", Eq. 10; the balance is that of the authors' code.

    Example:
        >>> logits = torch.zeros(1, 3, 2, 2)
        >>> balanced_segmentation_loss(logits, torch.tensor([[[0, 1], [2, 255]]]))
        tensor(1.0986)
    """
    batch, channels, *size = check_shape("logits", logits, "B C+1 h w")
    _, *label_size = check_shape("labels", labels, "B H W", B=batch)
    check_floating("logits", logits)
    check_integer("labels", labels)
    if min(channels, *size, *label_size) < 1:
        raise ShapeError(
            f"logits, labels: expected at least one channel and pixel, got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    labels = labels.long()
    _check_classes(labels, channels, ignore_index)

    background = labels == 0
    foreground = ~background & (labels != ignore_index)
    scores = at_least_float32(logits)
    if size != label_size:
        scores = F.interpolate(scores, size=label_size, mode="bilinear", align_corners=False)
    entropy = F.cross_entropy(scores, labels, ignore_index=ignore_index, reduction="none")
    return 0.5 * (_mean_over(entropy, background) + _mean_over(entropy, foreground))


def _mean_over(values: Tensor, part: Tensor) -> Tensor:
    """Mean of the values inside a part; 0, still attached, where the part is empty."""
    return (values * part).sum() / part.sum().clamp(min=1)


def _check_classes(labels: Tensor, channels: int, ignore_index: int) -> None:
    """Raise ``ValueError`` that names a label without a channel; not under ``torch.compile``."""
    if torch.compiler.is_compiling():
        return
    outside = ((labels < 0) | (labels >= channels)) & (labels != ignore_index)
    if bool(outside.any()):
        found = labels[outside][0].item()
        raise ValueError(
            f"labels: expected classes 0..{channels - 1} (logits have {channels} channels) or "
            f"{ignore_index}, got {found}"
        )
