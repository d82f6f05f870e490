"""RRM's cross entropy on reliable regions: background and foreground, summed."""

from __future__ import annotations

from torch import Tensor

from fsr.losses._segmentation import balanced_segmentation_loss


def joint_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int | None = None, *, joined: bool = False
) -> Tensor:
    r"""Mean cross entropy of the background plus that of the foreground.

    .. math:: L = \frac{1}{|bg|} \sum_{i \in bg} \mathrm{CE}_i
              + \frac{1}{|fg|} \sum_{i \in fg} \mathrm{CE}_i,

    twice :func:`fsr.losses.balanced_segmentation_loss`: bg are the pixels labelled 0 and fg those
    of any foreground class, over the batch. A part without pixels adds 0, where the released code
    has no number; without any labelled pixel the loss is a 0 attached to the graph.

    The released code counts the padding of a crop as labelled. Here it is to carry
    ``ignore_index``, as what lies outside a box does in the labels that this package makes.

    Args:
        logits: decoder scores, ``(B, C+1, h, w)``, background first; interpolated bilinearly to
            the labels' size.
        labels: labels of the reliable region, ``(B, H, W)`` integers: 0 background, c+1 foreground
            class c, ``ignore_index`` no label.
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
        Zhang et al., "Reliability Does Matter: An End-to-End Weakly Supervised Semantic
        Segmentation Approach" (RRM), AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 3, 2, 2)
        >>> joint_cross_entropy(logits, torch.tensor([[[0, 1], [2, 255]]]))
        tensor(2.1972)
    """
    return 2.0 * balanced_segmentation_loss(logits, labels, ignore_index, joined=joined)
