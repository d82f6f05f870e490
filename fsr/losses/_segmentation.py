"""Cross entropy on pseudo labels, background and foreground balanced: a term of Eq. 10."""

from __future__ import annotations

from torch import Tensor

from fsr._core.distributed import joined_ratio
from fsr._core.labels import chosen_ignore
from fsr._core.numerics import at_least_float32
from fsr.losses._pixel_entropy import check_classes, check_logits, pixel_cross_entropy
from fsr.losses._streamed_entropy import streamed_weighted_sum, streams


def balanced_segmentation_loss(
    logits: Tensor, labels: Tensor, ignore_index: int | None = None, *, joined: bool = False
) -> Tensor:
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
        ignore_index: label of pixels to leave out; None is that of :func:`fsr.cam.ignore_label`:
            255 of at most 254 classes.
        joined: bg and fg are those of all processes, each of which must call: the mean of their
            losses is then that of their batches together. False counts this process's alone.

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
        >>> import torch
        >>> logits = torch.zeros(1, 3, 2, 2)
        >>> balanced_segmentation_loss(logits, torch.tensor([[[0, 1], [2, 255]]]))
        tensor(1.0986)
    """
    channels = check_logits("logits", logits, labels)
    ignore_index = chosen_ignore(ignore_index, channels - 1)
    check_classes(labels, channels, ignore_index)
    background = labels == 0
    foreground = ~background & (labels != ignore_index)
    if streams(logits, labels):
        # What a pixel of either part counts is known before its loss: the gradient comes along.
        one = at_least_float32(logits.new_ones(()))
        each = [joined_ratio(one, part.sum(), joined=joined) for part in (background, foreground)]
        weights = 0.5 * (background * each[0] + foreground * each[1])
        return streamed_weighted_sum(logits, labels, weights, ignore_index)
    entropy = pixel_cross_entropy(logits, labels, ignore_index)
    means = [
        joined_ratio((entropy * part).sum(), part.sum(), joined=joined)
        for part in (background, foreground)
    ]
    return 0.5 * (means[0] + means[1])
