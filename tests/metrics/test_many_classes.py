"""Scores of more classes than a byte holds: those of the whole matrices, without the matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsr.metrics import SegmentationMetrics, ThresholdSweep, TrimapMetrics, boundary_distance

CLASSES, WIDE = 300, 65535


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and true labels of one image, some of them 255 (a class) and ignored."""
    torch.manual_seed(seed)
    some = torch.tensor([0, 1, 254, 255, CLASSES])
    label, target = some[torch.randint(0, 5, (2, 24, 32))]
    target = torch.where(torch.rand(24, 32) < 0.6, label, target)
    target[:2], target[2, 5] = WIDE, 255
    return torch.rand(24, 32), label, target


def test_a_sweep_is_the_matrix_of_every_threshold() -> None:
    thresholds = (0.2, 0.5, 0.9)
    sweep = ThresholdSweep(CLASSES, thresholds)
    plain = {threshold: SegmentationMetrics(CLASSES) for threshold in thresholds}
    for seed in range(2):
        score, label, target = drawn(seed)
        sweep.update(score, label, target)
        for threshold, metrics in plain.items():
            metrics.update(label.where(score > threshold, 0), target)
    assert sweep.counts.shape == (4, 3, CLASSES + 1)
    for threshold, metrics in plain.items():
        found, expected = sweep.compute(threshold), metrics.compute()
        assert found.miou == expected.miou
        assert torch.equal(found.iou.nan_to_num(-1), expected.iou.nan_to_num(-1))
        assert found.pixel_accuracy == expected.pixel_accuracy
        assert found.mean_accuracy == expected.mean_accuracy
    twice = sweep + sweep
    assert twice.miou() == sweep.miou()


def test_a_trimap_is_the_matrix_of_every_band() -> None:
    trimap = TrimapMetrics(CLASSES, (1, 3))
    _, label, target = drawn(0)
    trimap.update(label, target)
    assert trimap.counts.shape == (2, 3, CLASSES + 1)
    distance = boundary_distance(target, 3)
    for width, found in trimap.compute().items():
        metrics = SegmentationMetrics(CLASSES)
        metrics.update(label, target.masked_fill(distance > width, WIDE))
        assert found == metrics.compute().miou


def test_label_255_is_a_class_and_65535_left_out() -> None:
    metrics = SegmentationMetrics(CLASSES)
    assert metrics.ignore_index == WIDE
    metrics.update(torch.tensor([[255, 0]]), torch.tensor([[255, WIDE]]))
    assert metrics.compute().iou[255] == 1.0
    assert SegmentationMetrics(254).ignore_index == 255
    with pytest.raises(ValueError, match=r"target: expected labels in 0\.\.300 or 65535, got 301"):
        metrics.update(torch.tensor([[0]]), torch.tensor([[301]]))


def test_of_many_classes_there_is_no_matrix_at_a_threshold() -> None:
    with pytest.raises(ValueError, match=r"num_classes: expected at most 254 .*, got 300"):
        ThresholdSweep(300, (0.5,)).confusion(0.5)
