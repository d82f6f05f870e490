"""Global weighted ranking: the mean of a map's values, the higher ones weighing more."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_between, check_floating, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def global_weighted_ranking(logits: Tensor, decay: float = 0.996) -> Tensor:
    r"""Class scores: the mean of every map's values, weighted by their rank.

    With the values of a map in descending order, :math:`y_{(0)} \ge y_{(1)} \ge \dots`,

    .. math:: s = \frac{\sum_j d^j \, y_{(j)}}{\sum_j d^j}.

    The maximum of the map at d = 0, its mean at d = 1.

    Args:
        logits: maps of scores, ``(B, C, h, w)``, any real scale.
        decay: the d, from 0 to 1.

    Returns:
        ``(B, C)``, in at least float32.

    Raises:
        ShapeError: ``logits`` has the wrong shape, or there is no pixel.
        TypeError: ``logits`` is not floating point, or ``decay`` is no number.
        ValueError: ``decay`` is outside 0 to 1.

    Source:
        Kolesnikov and Lampert, "Seed, Expand and Constrain", ECCV 2016; Xu et al., "MCTformer+",
        TPAMI 2024, for the patch tokens; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> global_weighted_ranking(torch.tensor([[[[1.0, 4.0]]]]), decay=0.5)  # (4 + 1 / 2) / 1.5
        tensor([[3.]])
    """
    *_, height, width = check_shape("logits", logits, "B C? h w")
    check_floating("logits", logits)
    check_between("decay", decay, 0, 1)
    if min(height, width) < 1:
        raise ShapeError(f"logits: expected at least one pixel, got {tuple(logits.shape)}")
    with no_autocast(logits):
        ranked = at_least_float32(logits).flatten(2).sort(dim=2, descending=True).values
        ranks = torch.arange(height * width, device=ranked.device, dtype=ranked.dtype)
        weights = torch.pow(decay, ranks)
        return (ranked * (weights / weights.sum())).sum(dim=2)
