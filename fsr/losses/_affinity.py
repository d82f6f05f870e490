"""Affinity learned from pairs of tokens whose labels are known."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_floating, check_integer, check_same_device, check_shape
from fsr._core.distributed import joined_ratio
from fsr._core.numerics import at_least_float32, no_autocast


def affinity_loss(affinity: Tensor, labels: Tensor, *, joined: bool = False) -> Tensor:
    r"""Affinities of same-class pairs towards 1, of different-class pairs towards 0.

    .. math:: \tfrac12 \frac{\sum_{+} (1 - a_{ij})}{1 + |+|}
              + \tfrac12 \frac{\sum_{-} a_{ij}}{1 + |-|}

    Sums and counts run over the whole batch: an image with many pairs weighs more.

    Args:
        affinity: a, ``(B, N, N)``, 0 to 1, from :class:`fsr.affinity.AttentionAffinity`.
        labels: ``(B, N, N)`` integers, from :func:`fsr.affinity.affinity_labels`: 1 same class, 0
            different, anything else (255) left out.
        joined: the counts are those of all processes, each of which must call: the mean of their
            losses is then that of their batches together. False counts this process's alone.

    Returns:
        Scalar between 0 and 1, in at least float32; an attached zero without pairs.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: ``affinity`` is not floating point, or ``labels`` not integer.

    Source:
        Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic
        Segmentation with Transformers", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> import torch
        >>> affinity = torch.tensor([[[0.8, 0.4], [0.4, 0.9]]])
        >>> affinity_loss(affinity, torch.tensor([[[1, 0], [255, 1]]]))
        tensor(0.1500)
    """
    batch, count, _ = check_shape("affinity", affinity, "B N M")
    check_shape("affinity", affinity, "B N M", M=count)
    check_shape("labels", labels, "B N M", B=batch, N=count, M=count)
    check_same_device(affinity=affinity, labels=labels)
    check_floating("affinity", affinity)
    check_integer("labels", labels)
    with no_autocast(affinity):
        values = at_least_float32(affinity)
        same, different = labels == 1, labels == 0
        apart = (1 - values).masked_fill(~same, 0.0).sum()
        alike = values.masked_fill(~different, 0.0).sum()
        attraction = joined_ratio(apart, same.sum(), extra=1, joined=joined)
        repulsion = joined_ratio(alike, different.sum(), extra=1, joined=joined)
        return 0.5 * attraction + 0.5 * repulsion
