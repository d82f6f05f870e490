"""Scores against plain loops, recorded figures, other processes and their own promises."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.metrics import (
    LabelF1,
    SegmentationMetrics,
    SegmentationScores,
    ThresholdSweep,
    TrimapMetrics,
)
from tests.processes import run_code, run_together

Parity = Callable[[str], dict[str, torch.Tensor]]


def by_loops(prediction: Tensor, target: Tensor, num_classes: int) -> SegmentationScores:
    """Definitions of the four scores, one pixel at a time."""
    pixels = [
        (p, t)
        for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
        if t != 255
    ]
    ious, present, accuracies = [], [], []
    for label in range(num_classes + 1):
        both = sum(p == label and t == label for p, t in pixels)
        either = sum(p == label or t == label for p, t in pixels)
        true = sum(t == label for _, t in pixels)
        ious.append(both / either if either else math.nan)
        if true:
            present.append(label)
            accuracies.append(both / true)
    right = sum(p == t for p, t in pixels)
    return SegmentationScores(
        miou=sum(ious[c] for c in present) / len(present) if present else math.nan,
        iou=torch.tensor(ious, dtype=torch.float64),
        pixel_accuracy=right / len(pixels) if pixels else math.nan,
        mean_accuracy=sum(accuracies) / len(present) if present else math.nan,
    )


def assert_scores(actual: SegmentationScores, expected: SegmentationScores) -> None:
    for name in ("miou", "pixel_accuracy", "mean_accuracy"):
        left, right = getattr(actual, name), getattr(expected, name)
        assert left == pytest.approx(right, abs=1e-12, nan_ok=True), name
    torch.testing.assert_close(actual.iou, expected.iou, equal_nan=True, rtol=0, atol=1e-12)


def maps(num_classes: int, seed: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 5, 7)
    prediction = torch.randint(0, num_classes + 1, shape, generator=generator)
    target = torch.randint(0, num_classes + 2, shape, generator=generator)
    return prediction, target.masked_fill(target == num_classes + 1, 255)


def test_recorded_scores_are_reproduced(parity: Parity) -> None:
    recorded = parity("metrics")
    metrics = SegmentationMetrics(int(recorded["num_classes"]) - 1)
    for prediction, target in zip(recorded["pred"], recorded["gt"], strict=True):
        metrics.update(prediction, target)
    scores = metrics.compute()
    assert_scores(scores, by_loops(recorded["pred"], recorded["gt"], 5))
    for name in ("miou", "pixel_accuracy", "mean_accuracy"):
        assert getattr(scores, name) == pytest.approx(recorded[name].item(), abs=1e-9)
    np.testing.assert_allclose(scores.iou, recorded["iou"], atol=1e-9, equal_nan=True)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_scores_match_plain_loops(num_classes: int, seed: int) -> None:
    prediction, target = maps(num_classes, seed)
    metrics = SegmentationMetrics(num_classes)
    metrics.update(prediction, target)
    assert_scores(metrics.compute(), by_loops(prediction, target, num_classes))


@given(st.integers(1, 4), st.integers(0, 1000))
def test_streaming_merging_and_one_call_agree(num_classes: int, seed: int) -> None:
    prediction, target = maps(num_classes, seed, batch=4)
    whole, left, right = (SegmentationMetrics(num_classes) for _ in range(3))
    whole.update(prediction, target)
    for i, part in enumerate((left, left, right, right)):
        part.update(prediction[i], target[i])
    total = left + right
    left.merge(right)
    for metrics in (total, left):
        assert torch.equal(metrics.counts, whole.counts)
        assert_scores(metrics.compute(), whole.compute())


@given(st.integers(0, 1000))
def test_permuting_classes_permutes_the_scores(seed: int) -> None:
    prediction, target = maps(3, seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    table = torch.full((256,), 255)
    table[:4] = order
    plain, permuted = SegmentationMetrics(3), SegmentationMetrics(3)
    plain.update(prediction, target)
    permuted.update(table[prediction], table[target])
    torch.testing.assert_close(permuted.compute().iou[order], plain.compute().iou, equal_nan=True)
    assert permuted.compute().miou == pytest.approx(plain.compute().miou)


def test_adding_leaves_both_sides_as_they_were() -> None:
    left, right = SegmentationMetrics(1), SegmentationMetrics(1)
    left.update(torch.tensor([0]), torch.tensor([0]))
    right.update(torch.tensor([1]), torch.tensor([1]))
    assert (left + right).counts.tolist() == [[1, 0], [0, 1]]
    assert (int(left.counts.sum()), int(right.counts.sum())) == (1, 1)


def test_the_mean_runs_over_classes_present_in_the_target_only() -> None:
    metrics = SegmentationMetrics(3)
    metrics.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 255]))
    scores = metrics.compute()
    # Class 2 is predicted but absent: its IoU is 0 and not in the mean. Class 3 is nowhere.
    assert scores.iou.tolist() == pytest.approx([1.0, 0.5, 0.0, math.nan], nan_ok=True)
    assert scores.miou == 0.75
    assert scores.mean_accuracy == 0.75


def test_nothing_counted_is_nan_everywhere() -> None:
    metrics = SegmentationMetrics(2)
    for _ in range(2):
        scores = metrics.compute()
        assert all(math.isnan(value) for value in (scores[0], *scores[1].tolist(), *scores[2:]))
        metrics.update(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 255))
        metrics.update(torch.zeros(0, 2, 2).long(), torch.zeros(0, 2, 2).long())


def test_any_integer_type_counts_without_overflow() -> None:
    prediction, target = maps(20, 0)
    expected = SegmentationMetrics(20)
    expected.update(prediction, target)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        metrics = SegmentationMetrics(20)
        metrics.update(prediction.to(dtype), target.to(dtype))
        assert torch.equal(metrics.counts, expected.counts)
    assert expected.counts.dtype == torch.int64


def test_another_ignore_label_and_one_inside_the_classes() -> None:
    for ignored in (-1, 2):
        metrics = SegmentationMetrics(2, ignore_index=ignored)
        metrics.update(torch.tensor([0, 1, 2]), torch.tensor([0, 0, ignored]))
        assert metrics.counts.sum() == 2


def test_results_are_plain_numbers() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(*maps(2, 0))
    scores = metrics.compute()
    assert [type(scores[i]) for i in (0, 2, 3)] == [float] * 3
    assert scores.iou.dtype == torch.float64


def test_memory_is_constant_and_reset_forgets() -> None:
    metrics = SegmentationMetrics(2)
    for seed in range(5):
        metrics.update(*maps(2, seed))
    assert [tensor.shape for tensor in metrics.state_dict().values()] == [(3, 3)]
    metrics.reset()
    assert metrics.counts.sum() == 0


def test_updates_in_inference_mode_leave_ordinary_state() -> None:
    metrics = SegmentationMetrics(2)
    with torch.inference_mode():
        metrics.update(*maps(2, 0))
    fresh = SegmentationMetrics(2)
    fresh.load_state_dict(metrics.state_dict())
    metrics.load_state_dict(fresh.state_dict())
    metrics.update(*maps(2, 1))
    metrics.reset()


def test_state_dict_round_trip_and_deepcopy() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(*maps(2, 0))
    fresh = SegmentationMetrics(2)
    fresh.load_state_dict(metrics.state_dict())
    assert_scores(fresh.compute(), metrics.compute())
    twin = copy.deepcopy(metrics)
    twin.update(*maps(2, 1))
    assert torch.equal(metrics.counts, fresh.counts)


def test_all_kinds_of_counts_pickle() -> None:
    prediction, target = maps(2, 0)
    metrics = SegmentationMetrics(2)
    metrics.update(prediction, target)
    twin = pickle.loads(pickle.dumps(metrics))
    assert_scores(twin.compute(), metrics.compute())
    for other in (LabelF1(2), ThresholdSweep(2, (0.5,)), TrimapMetrics(2, (1, 2))):
        assert torch.equal(pickle.loads(pickle.dumps(other)).counts, other.counts)


def test_it_follows_its_inputs_device(device: torch.device) -> None:
    metrics = SegmentationMetrics(2)
    prediction, target = maps(2, 0)
    metrics.update(prediction.to(device), target.to(device))
    assert metrics.counts.device.type == device.type
    assert_scores(metrics.compute(), by_loops(prediction, target, 2))


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([0, 1], [0, 3], r"target: expected labels in 0..2 or 255, got 3"),
        ([0, 1], [-1, 254], r"target: expected labels in 0..2 or 255, got -1, 254"),
        ([255, 4], [0, 255], r"prediction: expected labels in 0..2, got 4, 255"),
        ([-7, 0], [255, 0], r"prediction: expected labels in 0..2, got -7"),
        (list(range(3, 20)), [0] * 17, r"got 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, \.\.\."),
    ],
)
def test_labels_out_of_range_are_refused_by_value(
    prediction: list[int], target: list[int], message: str
) -> None:
    metrics = SegmentationMetrics(2)
    with pytest.raises(ValueError, match=message):
        metrics.update(torch.tensor(prediction), torch.tensor(target))
    assert metrics.counts.sum() == 0


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="num_classes: expected a positive integer, got 0"):
        SegmentationMetrics(0)
    with pytest.raises(TypeError, match=r"num_classes: expected a positive integer, got 2.5"):
        SegmentationMetrics(2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        SegmentationMetrics()  # type: ignore[call-arg]
    metrics, label = SegmentationMetrics(2), torch.zeros(2, 2).long()
    with pytest.raises(TypeError, match="prediction: expected an integer tensor, got list"):
        metrics.update([[0]], label)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"target: expected an integer tensor, got torch.float32"):
        metrics.update(label, label.float())
    with pytest.raises(TypeError, match=r"prediction: .* got torch.bool"):
        metrics.update(label.bool(), label)
    with pytest.raises(ValueError, match=r"prediction: expected the target's shape \(2, 2\), got"):
        metrics.update(label[:1], label)
    with pytest.raises(TypeError, match="other: expected SegmentationMetrics, got LabelF1"):
        metrics.merge(LabelF1(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other: expected 2 classes, got 3"):
        metrics.merge(SegmentationMetrics(3))


def test_importing_metrics_leaves_torchmetrics_alone() -> None:
    command = "import sys, fsr.metrics as m; m.LabelF1(2); print('torchmetrics' in sys.modules)"
    done = run_code(command)
    assert done.stdout.strip() == "False"
    assert done.stderr == ""


@given(st.integers(1, 5), st.integers(0, 1000), st.floats(0.1, 0.9))
def test_f1_matches_plain_loops(num_classes: int, seed: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(8, num_classes, generator=generator)
    labels = (torch.rand(8, num_classes, generator=generator) > 0.6).float()
    metric = LabelF1(num_classes, threshold=threshold)
    metric.update(scores[:3], labels[:3])
    metric.update(scores[3:], labels[3:])
    result = metric.compute()
    each, hits, misses = [], 0, 0
    for c in range(num_classes):
        decided = (scores[:, c] > threshold).tolist()
        pairs = list(zip(decided, (labels[:, c] == 1).tolist(), strict=True))
        hit, miss = sum(d and t for d, t in pairs), sum(d != t for d, t in pairs)
        hits, misses = hits + hit, misses + miss
        each.append(2 * hit / (2 * hit + miss) if hit or miss else math.nan)
    known = [value for value in each if not math.isnan(value)]
    assert result.f1.tolist() == pytest.approx(each, nan_ok=True)
    assert result.micro == pytest.approx(
        2 * hits / (2 * hits + misses) if known else math.nan, nan_ok=True
    )
    assert result.macro == pytest.approx(
        sum(known) / len(known) if known else math.nan, nan_ok=True
    )


def test_logits_between_zero_and_one_are_logits_all_the_same() -> None:
    metric = LabelF1(2)
    metric.update(torch.tensor([[0.1, 0.4]]), torch.tensor([[1.0, 1.0]]))
    assert metric.compute().micro == 1.0


def test_a_score_at_the_threshold_is_no_prediction() -> None:
    metric = LabelF1(1, threshold=0.5)
    metric.update(torch.tensor([[0.5], [0.75]]), torch.tensor([[0], [1]]))
    assert metric.counts.tolist() == [[1, 0, 0]]


def test_f1_of_nothing_is_nan_and_it_merges_and_resets() -> None:
    metric = LabelF1(2)
    assert all(math.isnan(value) for value in metric.compute()[:2])
    metric.update(torch.ones(1, 2), torch.ones(1, 2))
    assert (metric + metric).counts.tolist() == [[2, 0, 0], [2, 0, 0]]
    metric.reset()
    assert metric.counts.sum() == 0


def test_f1_refuses_bad_arguments_by_name() -> None:
    metric = LabelF1(2)
    with pytest.raises(ValueError, match=r"scores: expected shape \(B, C\) with C=2, got \(1, 3\)"):
        metric.update(torch.ones(1, 3), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"labels: expected shape \(B, C\) with B=1, C=2"):
        metric.update(torch.ones(1, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN"):
        metric.update(torch.full((1, 2), torch.nan), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"threshold: expected a number in .* got nan"):
        LabelF1(2, threshold=math.nan)
    with pytest.raises(ValueError, match="num_classes: expected a positive integer"):
        LabelF1(0)


def test_options_are_shown() -> None:
    assert repr(SegmentationMetrics(2)) == "SegmentationMetrics(num_classes=2, ignore_index=255)"
    assert repr(LabelF1(2)) == "LabelF1(num_classes=2, threshold=0.0)"


def count_one_process(rank: int, world: int, folder: str) -> None:
    """Count this process's maps, sum over processes twice, and save the result."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    try:
        metrics = SegmentationMetrics(2)
        metrics.update(*maps(2, seed=rank))
        total = metrics.across_processes()
        again = metrics.across_processes()
        torch.save([metrics.counts, total.counts, again.counts], f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_together_equal_one(tmp_path: Path) -> None:
    run_together(count_one_process, 2, str(tmp_path))
    alone = SegmentationMetrics(2)
    for rank in range(2):
        alone.update(*maps(2, seed=rank))
    for rank in range(2):
        own, total, again = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert own.sum() < total.sum()
        assert torch.equal(total, alone.counts)
        assert torch.equal(again, alone.counts)


def test_a_single_process_is_its_own_sum() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(*maps(2, 0))
    assert torch.equal(metrics.across_processes().counts, metrics.counts)
