"""Thresholds of labels that follow the batch, by a mixture of two Gaussians; not in the paper."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_floating,
    check_positive_int,
    check_unit_interval,
)

# How labels made from CAMs find their thresholds.
LabelThresholds = Literal["fixed", "mixture"]
LABEL_THRESHOLDS: tuple[LabelThresholds, ...] = get_args(LabelThresholds)

# Least standard deviation of a component, and least distance of two, in scores. CAMs have many
# scores close to 0: a narrower component would be these alone, and all others one class.
NARROWEST = 0.1


class _Mixture(NamedTuple):
    """Shares, means and variances of the lower and the upper component."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    def log_odds(self, score: float) -> float:
        """Return the logarithm of the odds that a score belongs to the upper component."""
        (share0, mean0, variance0), (share1, mean1, variance1) = self
        odds = math.log(share1 / share0) + 0.5 * math.log(variance0 / variance1)
        below = (score - mean0) ** 2 / (2 * variance0)
        return odds + below - (score - mean1) ** 2 / (2 * variance1)


def mixture_thresholds(
    scores: Tensor,
    low: float = 0.25,
    high: float = 0.7,
    *,
    confidence: float = 0.9,
    iterations: int = 50,
) -> tuple[float, float]:
    r"""Two thresholds between background and classes, where a mixture of two Gaussians is sure.

    Not in the paper. Two Gaussians are fitted to the scores by expectation-maximisation, and the
    posterior :math:`P(x)` of the upper one rises between their means :math:`\mu_0 < \mu_1`. The
    thresholds are the scores there at which it passes 1 - ``confidence`` and ``confidence``: what
    lies between is what the mixture is not sure of. Where it is not sure even at a mean,
    that mean is the threshold.

    The fit starts at the mean of the scores less and plus their standard deviation, with halves for
    shares and the variance of the scores; no component gets a standard deviation below 0.1. Scores
    of 0 are left out: they are what ReLU and minimum cut off, background whatever the thresholds,
    and a spike that no Gaussian fits.

    Scores without two components keep ``low`` and ``high``: fewer than two of them, a component of
    less than 1% of the scores, means closer than 0.1, or a mean that belongs to the other one.

    Args:
        scores: scores of the strongest present class of each pixel or patch of a batch, of any
            shape, 0 to 1.
        low: lower threshold of scores without two components, 0 to 1, below ``high``.
        high: upper threshold of such scores, 0 to 1.
        confidence: posterior at which the mixture counts as sure, in (0.5, 1).
        iterations: number of steps of the fit.

    Returns:
        Lower and upper threshold, 0 to 1, the first below the second.

    Raises:
        TypeError: ``scores`` is not floating point, or an option has the wrong type.
        ValueError: ``scores`` holds NaN or values outside 0 to 1, or an option is out of range.

    Source:
        Not in the paper; after the dynamic thresholds of Yang et al. (CoSA), ECCV 2024.

    Example:
        >>> scores = torch.tensor([0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.7, 0.75, 0.8, 0.85])
        >>> low, high = mixture_thresholds(scores)
        >>> round(low, 2), round(high, 2)
        (0.45, 0.53)
        >>> mixture_thresholds(torch.full((9,), 0.4), low=0.2, high=0.6)
        (0.2, 0.6)
    """
    check_floating("scores", scores, finite=False)
    _check_options(low, high, confidence, iterations)
    values = scores.detach().double().flatten()
    if len(values):
        check_unit_interval(scores=values)
    mixture = _fitted(values[values > 0], iterations)
    if mixture is None:
        return low, high
    sure = math.log(confidence / (1 - confidence))
    return _score_at(mixture, -sure), _score_at(mixture, sure)


def _check_options(low: float, high: float, confidence: float, iterations: int) -> None:
    """Raise unless the options of a fit are in range and its thresholds in order."""
    check_between("low", low, 0, 1)
    check_between("high", high, 0, 1)
    if low >= high:
        raise ValueError(f"low: expected a number below high={high}, got {low}")
    check_between("confidence", confidence, 0.5, 1, inclusive=False)
    check_positive_int("iterations", iterations)


def _fitted(values: Tensor, iterations: int) -> _Mixture | None:
    """Fit two Gaussians to values; None if they do not part them."""
    if len(values) < 2:
        return None
    variance, mean = torch.var_mean(values, correction=0)
    deviation = variance.sqrt()
    shares = values.new_full((2, 1), 0.5)
    means = torch.stack([mean - deviation, mean + deviation]).unsqueeze(1)
    variances = variance.clamp(min=NARROWEST**2).expand(2, 1)
    for _ in range(iterations):
        density = shares.log() - 0.5 * variances.log() - (values - means) ** 2 / (2 * variances)
        member = density.softmax(dim=0)
        # A component that nothing belongs to keeps its formulas finite.
        size = member.sum(dim=1, keepdim=True).clamp(min=1e-9)
        shares = size / len(values)
        means = (member * values).sum(dim=1, keepdim=True) / size
        variances = (member * (values - means) ** 2).sum(dim=1, keepdim=True) / size
        variances = variances.clamp(min=NARROWEST**2)
    lower, upper = torch.cat([shares, means, variances], dim=1).tolist()
    mixture = _Mixture(tuple(lower), tuple(upper))
    parted = min(lower[0], upper[0]) >= 0.01 and upper[1] - lower[1] >= NARROWEST
    if not parted or mixture.log_odds(lower[1]) >= 0 or mixture.log_odds(upper[1]) <= 0:
        return None
    return mixture


def _score_at(mixture: _Mixture, log_odds: float) -> float:
    """Return the score between the means at which the odds pass a value; they rise there."""
    below, above = mixture.lower[1], mixture.upper[1]
    for _ in range(40):
        middle = (below + above) / 2
        if mixture.log_odds(middle) < log_odds:
            below = middle
        else:
            above = middle
    return (below + above) / 2
