"""Thresholds from a mixture of two Gaussians, against a fit written as loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.cam import mixture_thresholds


def scores(seed: int = 0, share: float = 0.3) -> Tensor:
    """Two humps of scores, some of them cut off at 0."""
    generator = torch.Generator().manual_seed(seed)
    upper = torch.rand(600, generator=generator) < share
    values = torch.randn(600, generator=generator, dtype=torch.float64)
    return torch.where(upper, 0.75 + 0.08 * values, 0.2 + 0.12 * values).clamp(0, 1)


def density(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def fit(values: list[float], iterations: int) -> list[list[float]]:
    """Expectation-maximisation value by value: share, mean and variance of both."""
    spread = float(np.std(values))
    parts = [
        [0.5, float(np.mean(values)) + sign * spread, max(spread**2, 0.01)] for sign in (-1, 1)
    ]
    for _ in range(iterations):
        members = []
        for x in values:
            weights = [share * density(x, mean, variance) for share, mean, variance in parts]
            members.append([weight / sum(weights) for weight in weights])
        for index in (0, 1):
            size = sum(member[index] for member in members)
            mean = sum(m[index] * x for m, x in zip(members, values, strict=True)) / size
            variance = (
                sum(m[index] * (x - mean) ** 2 for m, x in zip(members, values, strict=True)) / size
            )
            parts[index] = [size / len(values), mean, max(variance, 0.01)]
    return parts


def posterior(x: float, parts: list[list[float]]) -> float:
    lower, upper = (share * density(x, mean, variance) for share, mean, variance in parts)
    return upper / (lower + upper)


@pytest.mark.parametrize(("seed", "share"), [(0, 0.3), (1, 0.7), (2, 0.1)])
def test_the_thresholds_are_where_the_fit_of_the_loops_is_sure(seed: int, share: float) -> None:
    given = scores(seed, share)
    assert (given == 0).any()
    parts = fit([x for x in given.tolist() if x > 0], iterations=12)
    low, high = mixture_thresholds(given, iterations=12)
    assert parts[0][1] < low < high < parts[1][1]
    assert posterior(low, parts) == pytest.approx(0.1, abs=1e-6)
    assert posterior(high, parts) == pytest.approx(0.9, abs=1e-6)
    strict = mixture_thresholds(given, iterations=12, confidence=0.95)
    assert posterior(strict[0], parts) == pytest.approx(0.05, abs=1e-6)
    assert strict[0] < low < high < strict[1]


def test_shape_order_and_zeros_do_not_matter() -> None:
    given = scores()
    expected = mixture_thresholds(given)
    more = torch.cat([given.flip(0), torch.zeros(120)]).view(6, 10, 12)
    assert mixture_thresholds(more) == pytest.approx(expected, abs=1e-9)


def test_sharp_humps_are_as_wide_as_components_are_at_least() -> None:
    sharp = torch.tensor([0.1, 0.9], dtype=torch.float64).repeat(50)
    # Of two alike components of deviation 0.1 the log odds are 80 (x - 0.5).
    apart = math.log(9) / 80
    assert mixture_thresholds(sharp) == pytest.approx((0.5 - apart, 0.5 + apart), abs=1e-9)


def test_a_spike_close_to_zero_is_no_component_by_itself() -> None:
    spike = torch.linspace(0.001, 0.02, 500, dtype=torch.float64)
    given = torch.cat([spike, 0.2 * scores()[:100] + 0.1, torch.full((100,), 0.8).double()])
    low, high = mixture_thresholds(given)
    assert 0.2 < low < high < 0.6


def test_a_mean_at_which_the_mixture_is_not_sure_is_the_threshold() -> None:
    given = scores(2, share=0.1)
    parts = fit([x for x in given.tolist() if x > 0], iterations=12)
    assert posterior(parts[0][1], parts) > 0.01
    low, high = mixture_thresholds(given, iterations=12, confidence=0.99)
    assert low == pytest.approx(parts[0][1], abs=1e-9)
    assert posterior(high, parts) == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        torch.zeros(0),
        torch.zeros(9),
        torch.tensor([0.0, 0.4]),
        torch.full((3, 3), 0.4),
        torch.tensor([0.4, 0.401, 0.402]),
        # One value apart from 300 is no component.
        torch.cat([torch.linspace(0.4, 0.5, 300), torch.tensor([1.0])]),
    ],
    ids=["none", "zeros", "one", "constant", "nearly", "outlier"],
)
def test_scores_without_two_components_keep_the_thresholds(given: Tensor) -> None:
    assert mixture_thresholds(given, 0.15, 0.55) == (0.15, 0.55)


def test_half_precision_and_no_gradient() -> None:
    given = scores().bfloat16().requires_grad_()
    low, high = mixture_thresholds(given)
    assert isinstance(low, float)
    assert (low, high) == mixture_thresholds(given.detach().double())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scores": torch.zeros(3).long()}, TypeError, "scores: expected a floating-point"),
        ({"scores": torch.tensor([0.5, 1.5])}, ValueError, "scores: .*from 0.5 to 1.5"),
        ({"scores": torch.tensor([torch.nan])}, ValueError, "scores: .*got NaN"),
        ({"low": 0.7}, ValueError, "low: expected a number below high=0.7, got 0.7"),
        ({"low": -0.1}, ValueError, r"low: expected a number in \[0, 1\]"),
        ({"high": 1.1}, ValueError, r"high: expected a number in \[0, 1\]"),
        ({"confidence": 0.5}, ValueError, r"confidence: expected a number in \(0.5, 1\)"),
        ({"iterations": 0}, ValueError, "iterations: expected a positive integer, got 0"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mixture_thresholds(**({"scores": torch.zeros(3)} | changes))
