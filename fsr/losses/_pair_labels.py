"""Labels of token pairs: same class, different class, or not to be compared."""

from __future__ import annotations

from torch import Tensor

from fsr.affinity import IGNORE, affinity_labels


def pair_labels(token_labels: Tensor, *, ignore_index: int = IGNORE) -> Tensor:
    """Tell for every pair of an image's tokens whether both show one class.

    It is :func:`fsr.affinity.affinity_labels` without a window, and with the pairs of a token and
    itself left out. These are the pairs of :func:`patch_token_contrast`, which needs no such
    matrix: this one is for losses of your own and for a look.

    Args:
        token_labels: one label per token, ``(B, H, W)`` or ``(B, N)`` integers; 255 unknown.
        ignore_index: label of unknown tokens; of more than 254 classes it is another, see
            :func:`fsr.cam.ignore_label`.

    Returns:
        ``(B, N, N)`` int64: 1 same class, 0 different, 255 where a label is unknown and on the
        diagonal.

    Raises:
        ShapeError: ``token_labels`` has another rank.
        TypeError: ``token_labels`` is not integer.

    Source:
        Ru et al., "Token Contrast for Weakly Supervised Semantic Segmentation", CVPR 2023
        (rulixiang/ToCo@e13514d).

    Example:
        >>> import torch
        >>> pair_labels(torch.tensor([[1, 1, 255]]))
        tensor([[[255,   1, 255],
                 [  1, 255, 255],
                 [255, 255, 255]]])
    """
    labels = affinity_labels(token_labels, ignore_index=ignore_index)
    labels.diagonal(dim1=1, dim2=2).fill_(IGNORE)
    return labels
