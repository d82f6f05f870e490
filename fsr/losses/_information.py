"""How much targets say: what tells them from uniform, what tells tokens apart, what they use."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.checks import check_floating, check_unit_interval
from fsr._core.numerics import at_least_float32
from fsr._core.values import readable
from fsr.errors import ShapeError


class TargetInformation(NamedTuple):
    """What a batch of target distributions holds; scalars.

    Attributes:
        nats: mean divergence of a target from the uniform distribution, from 0 to ln K. Below 1 or
            so there is little to learn from it.
        information: mutual information of row and prototype, in nats: how well a target tells which
            row it is of. 0 where all rows have the same target, however sharp.
        used: share of the prototypes that are in use, ``exp`` of the entropy of the mean target
            over K: from 1/K, one prototype takes all, to 1.
    """

    nats: Tensor
    information: Tensor
    used: Tensor


@torch.no_grad()
def target_information(targets: Tensor) -> TargetInformation:
    r"""Measure how much target distributions have to teach.

    With the entropy H, the K prototypes and the mean over all rows :math:`\bar P`: nats are
    :math:`\ln K - \overline{H(P)}`, information is :math:`H(\bar P) - \overline{H(P)}`, and the
    share in use :math:`\exp(H(\bar P)) / K`. So information is at most nats, and at most the
    logarithm of the number of rows.

    Args:
        targets: probabilities, ``(..., K)``; every row counts alike.

    Returns:
        Three scalars of at least float32, of this process alone; NaN where a target is.

    Raises:
        ShapeError: there is no row.
        TypeError: ``targets`` is not floating point.

    Source:
        Not in the paper.

    Example:
        >>> target_information(torch.eye(4))
        TargetInformation(nats=tensor(1.3863), information=tensor(1.3863), used=tensor(1.))
        >>> target_information(torch.full((3, 4), 0.25)).nats
        tensor(0.)
    """
    check_floating("targets", targets)
    if readable(targets):
        check_unit_interval(targets=targets)
    if targets.ndim < 1 or targets.numel() == 0:
        raise ShapeError(f"targets: expected (..., K) with rows, got {tuple(targets.shape)}")
    width = targets.shape[-1]
    rows, most = at_least_float32(targets).reshape(-1, width), math.log(width)
    own = _entropies(rows).mean()
    # Rounding must not take an entropy out of its range.
    mean = _entropies(rows.mean(dim=0)).clamp(0, most)
    return TargetInformation(
        nats=(most - own).clamp(min=0),
        information=(mean - own).clamp(min=0),
        used=(mean.exp() / width).clamp(max=1),
    )


def _entropies(rows: Tensor) -> Tensor:
    """Return the entropy of each row; `torch.special.entr` takes twice as long on a CPU."""
    # 0 log(0) is 0, the limit: sharpened distributions underflow.
    logs = rows.clamp_min(torch.finfo(rows.dtype).tiny).log_()
    return logs.mul_(rows).sum(dim=-1).neg()
