"""The student's CAM that follows the teacher's, against loops written from the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.cam import normalize_cam
from fsr.errors import ShapeError
from fsr.losses import cam_consistency_loss
from tests.helpers import assert_compiles

LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    scores, other = torch.randn(2, 2, 3, 3, 4, generator=generator, dtype=torch.float64)
    scores[1] *= 0.02  # a map that hardly differs
    return scores, normalize_cam(other)


def by_loops(scores: Tensor, target: Tensor, labels: Tensor) -> float:
    errors = []
    for b, c in np.argwhere(labels.numpy() > 0):
        rectified = np.maximum(scores[b, c].numpy(), 0)
        wanted = target[b, c].numpy()
        if wanted.max() == 0:
            continue
        reach = max((rectified - rectified.min()).max(), 0.1)
        differences = (rectified - rectified.min()) / reach - wanted
        errors.append(sum(d * d for d in differences.flatten()) / differences.size)
    return sum(errors) / len(errors) if errors else 0.0


def test_the_loss_is_that_of_the_loops() -> None:
    scores, target = inputs()
    found = cam_consistency_loss(scores, target, LABELS)
    assert found.item() == pytest.approx(by_loops(scores, target, LABELS), rel=1e-12)
    # Before or after ReLU is the same, and a constant map of the teacher does not count.
    assert torch.equal(cam_consistency_loss(scores.relu(), target, LABELS), found)
    target[0, 2] = 0.0
    fewer = cam_consistency_loss(scores, target, LABELS).item()
    assert fewer == pytest.approx(by_loops(scores, target, LABELS), rel=1e-12)
    assert fewer != found.item()


def test_the_gradient_is_right_and_reaches_present_classes_alone() -> None:
    scores, target = inputs()
    scores.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: cam_consistency_loss(s, target.detach(), LABELS), (scores,)
    )
    cam_consistency_loss(scores, target, LABELS).backward()
    assert target.grad is None
    assert scores.grad is not None
    assert torch.equal(scores.grad.flatten(2).abs().sum(2) > 0, LABELS > 0)


def test_a_student_at_the_target_rests() -> None:
    scores, _ = inputs()
    scores.requires_grad_()
    loss = cam_consistency_loss(scores[:1], normalize_cam(scores[:1].detach()), LABELS[:1])
    assert loss.item() < 1e-9
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.abs().max() < 1e-4


@pytest.mark.parametrize("value", [0.0, -3.0, 2.0])
def test_constant_maps_and_images_without_a_class_are_finite(value: float) -> None:
    scores = torch.full((1, 2, 3, 3), value, requires_grad=True)
    target = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    loss = cam_consistency_loss(scores, target, torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(target[0, 0].square().mean().item())
    loss.backward()
    assert scores.grad is not None
    # A map is stretched tenfold at most.
    assert scores.grad.abs().max() <= 2 * 10
    for flat, labels in ((target, torch.zeros(1, 2)), (0 * target, torch.ones(1, 2))):
        nothing = cam_consistency_loss(scores, flat, labels)
        assert (nothing.item(), nothing.requires_grad) == (0.0, True)


def test_half_precision_is_computed_in_float32_and_the_graph_is_one() -> None:
    scores, target = inputs()
    half = cam_consistency_loss(scores.bfloat16(), target.bfloat16(), LABELS)
    whole = cam_consistency_loss(scores.bfloat16().float(), target.bfloat16().float(), LABELS)
    assert half.dtype == torch.float32
    assert half.item() == whole.item()
    assert_compiles(cam_consistency_loss, scores.float(), target.float(), LABELS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scores": torch.zeros(2, 3, 4)}, ShapeError, r"scores: .*\(B, C, H, W\)"),
        ({"target": torch.zeros(1, 2, 3, 4)}, ShapeError, "target: .*W=3"),
        ({"labels": torch.zeros(1, 3)}, ShapeError, "labels: .*C=2"),
        ({"scores": torch.zeros(1, 2, 3, 3).long()}, TypeError, "scores: .*floating"),
        ({"target": torch.zeros(1, 2, 3, 3).long()}, TypeError, "target: .*floating"),
        ({"target": torch.full((1, 2, 3, 3), 2.0)}, ValueError, "target: .*between 0 and 1"),
        ({"target": torch.full((1, 2, 3, 3), torch.nan)}, ValueError, "target: .*got NaN"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    maps = torch.zeros(1, 2, 3, 3)
    given = {"scores": maps, "target": maps, "labels": torch.ones(1, 2)}
    with pytest.raises(error, match=message):
        cam_consistency_loss(**(given | changes))
