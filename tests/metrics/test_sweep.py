"""Scores at many thresholds against scores of thresholded label maps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.metrics import SegmentationMetrics, SegmentationScores, ThresholdSweep

THRESHOLDS = (0.7, 0.0, 0.25, 0.5, 1.0)


def draw(seed: int, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, some of them on a threshold, their labels, and true labels with 255."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 6, 7)
    score = torch.randint(0, 21, shape, generator=generator) / 20
    label = torch.randint(0, num_classes + 1, shape, generator=generator)
    target = torch.randint(0, num_classes + 1, shape, generator=generator)
    return score, label, target.masked_fill(torch.rand(shape, generator=generator) < 0.2, 255)


def expected(
    score: Tensor, label: Tensor, target: Tensor, threshold: float, num_classes: int
) -> SegmentationScores:
    metrics = SegmentationMetrics(num_classes)
    metrics.update(torch.where(score > threshold, label, 0), target)
    return metrics.compute()


def assert_equal(found: SegmentationScores, wanted: SegmentationScores) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            torch.as_tensor(one), torch.as_tensor(other), rtol=0, atol=0, equal_nan=True
        )


@given(seed=st.integers(0, 10_000), num_classes=st.integers(1, 4))
def test_a_sweep_gives_the_scores_of_every_thresholded_map(seed: int, num_classes: int) -> None:
    score, label, target = draw(seed, num_classes)
    sweep = ThresholdSweep(num_classes, THRESHOLDS)
    sweep.update(score, label, target)
    for threshold in THRESHOLDS:
        wanted = expected(score, label, target, threshold, num_classes)
        assert_equal(sweep.compute(threshold), wanted)


def test_a_threshold_compares_in_the_scores_own_type() -> None:
    half = torch.tensor([0.3], dtype=torch.float16)
    sweep = ThresholdSweep(1, (0.3,))
    sweep.update(half, torch.tensor([1]), torch.tensor([1]))
    assert sweep.compute(0.3).iou[1] == float(half.item() > half.new_tensor(0.3).item()) == 0


def test_thresholds_are_sorted_and_their_scores_listed() -> None:
    sweep = ThresholdSweep(2, THRESHOLDS)
    assert sweep.thresholds == (0.0, 0.25, 0.5, 0.7, 1.0)
    assert list(sweep.miou()) == list(sweep.thresholds)
    assert all(math.isnan(value) for value in sweep.miou().values())


def test_updates_and_merges_add_up() -> None:
    one, other, both = (ThresholdSweep(3, THRESHOLDS) for _ in range(3))
    for seed, sweep in enumerate((one, other)):
        sweep.update(*draw(seed, 3))
        both.update(*draw(seed, 3))
    total = one + other
    assert torch.equal(total.counts, both.counts)
    assert int(both.counts.sum()) == sum(int((draw(s, 3)[2] != 255).sum()) for s in (0, 1))
    one.merge(other)
    assert torch.equal(one.counts, both.counts)
    one.reset()
    assert one.counts.sum() == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, (0.5,)), ValueError, "num_classes"),
        ((1, ()), ValueError, "thresholds: expected at least one number, got none"),
        ((1, (0.5, 1.5)), ValueError, "thresholds"),
        ((1, (0.5, 0.5)), ValueError, r"thresholds: expected each once, got \(0.5, 0.5\)"),
    ],
)
def test_bad_options_are_refused(
    arguments: tuple[int, tuple[float, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ThresholdSweep(*arguments)


def test_bad_maps_are_refused() -> None:
    sweep = ThresholdSweep(1, (0.5,))
    labels = torch.tensor([0, 1])
    with pytest.raises(TypeError, match="score"):
        sweep.update(labels, labels, labels)
    with pytest.raises(ValueError, match="score: expected 2 pixels, got 3"):
        sweep.update(torch.rand(3), labels, labels)
    with pytest.raises(ValueError, match="score: expected numbers, got NaN"):
        sweep.update(torch.tensor([0.1, math.nan]), labels, labels)
    with pytest.raises(ValueError, match=r"prediction|label"):
        sweep.update(torch.rand(2), torch.tensor([0, 2]), labels)
    with pytest.raises(ValueError, match="target"):
        sweep.update(torch.rand(2), labels, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"threshold: expected one of \(0.5,\), got 0.4"):
        sweep.compute(0.4)
    assert sweep.counts.sum() == 0


def test_sweeps_of_other_thresholds_do_not_merge() -> None:
    one, other = ThresholdSweep(1, (0.5,)), ThresholdSweep(1, (0.4,))
    with pytest.raises(ValueError, match="thresholds"):
        one.merge(other)
    with pytest.raises(ShapeError, match="classes"):
        one.merge(ThresholdSweep(2, (0.5,)))
