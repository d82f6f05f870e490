"""Binary cross entropy of patch scores: loops, recorded loss, its clamp, precision, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import patch_score_loss
from fsr.pooling import patch_max
from tests.helpers import assert_compiles


def test_it_matches_plain_loops(device: torch.device) -> None:
    scores = torch.rand(3, 4, dtype=torch.float64)
    scores[0, 0], scores[1, 1], scores[2, 2], scores[2, 3] = 0.0, 1.0, 1e-9, 1 - 1e-9
    labels = torch.randint(0, 2, (3, 4))
    total = 0.0
    for b, c in np.ndindex(3, 4):
        s = min(max(scores[b, c].item(), 1e-7), 1 - 1e-7)
        total -= math.log((s if labels[b, c] else 1 - s) + 1e-7)
    loss = patch_score_loss(scores.to(device), labels.to(device))
    assert loss.item() == pytest.approx(total / 12, rel=1e-9)


def test_recorded_loss_and_gradients_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/vit_pcm_head")
    features, weight = (recorded[f"in_{name}"].requires_grad_() for name in ("features", "weight"))
    logits = torch.einsum("kd,bdhw->bkhw", weight, features)
    loss = patch_score_loss(patch_max(logits), recorded["in_labels"])
    loss.backward()
    torch.testing.assert_close(loss, recorded["out_loss"], rtol=1e-5, atol=0)
    for name, value in (("features", features), ("weight", weight)):
        expected = recorded[f"grad_{name}"]
        torch.testing.assert_close(value.grad, expected, rtol=0, atol=1e-5 * expected.abs().max())
    regulariser = float(recorded["arg_weight_decay"]) * weight.square().sum()
    torch.testing.assert_close(regulariser, recorded["out_regulariser"], rtol=1e-5, atol=0)


def test_right_scores_cost_nothing_and_wrong_ones_a_bounded_price() -> None:
    right = torch.tensor([[1.0, 0.0]])
    labels = torch.tensor([[1, 0]])
    assert patch_score_loss(right, labels).item() == pytest.approx(0, abs=1e-7)
    # Clamped to 1e-7, and 1e-7 more below the logarithm.
    wrong = patch_score_loss(1 - right.double(), labels)
    assert wrong.item() == pytest.approx(-math.log(2e-7), rel=1e-6)


def test_outside_the_clamp_there_is_no_gradient() -> None:
    scores = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    patch_score_loss(scores, torch.tensor([[1, 1, 0]])).backward()
    assert scores.grad[0, 0] == 0
    assert scores.grad[0, 2] == 0
    assert scores.grad[0, 1].item() == pytest.approx(-2 / 3, rel=1e-6)


def test_gradient_is_that_of_finite_differences() -> None:
    scores = torch.rand(2, 3, dtype=torch.float64).mul(0.8).add(0.1).requires_grad_()
    labels = torch.tensor([[1, 0, 1], [1, 1, 0]])
    assert torch.autograd.gradcheck(lambda s: patch_score_loss(s, labels), scores)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_renaming_classes_and_images_changes_nothing_and_it_is_never_negative(
    seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(3, 4, generator=generator)
    extreme = torch.rand(3, 4, generator=generator) < share
    scores = torch.where(extreme, scores.round(), scores).requires_grad_()
    labels = torch.randint(0, 2, (3, 4), generator=generator)
    loss = patch_score_loss(scores, labels)
    loss.backward()
    assert loss >= 0
    assert torch.isfinite(scores.grad).all()
    torch.testing.assert_close(patch_score_loss(scores.flip(0, 1), labels.flip(0, 1)), loss)


def test_precision() -> None:
    scores, labels = torch.rand(2, 3), torch.tensor([[1, 0, 1], [1, 1, 0]])
    expected = patch_score_loss(scores, labels)
    assert patch_score_loss(scores.double(), labels).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        half = patch_score_loss(scores.to(dtype), labels)
        assert half.dtype == torch.float32
        assert half == patch_score_loss(scores.to(dtype).float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert patch_score_loss(scores, labels.bool()) == expected
    assert_compiles(patch_score_loss, scores, labels)


SCORES, LABELS = torch.zeros(1, 3), torch.zeros(1, 3)


@pytest.mark.parametrize(
    ("scores", "labels", "error", "message"),
    [
        (SCORES[0], LABELS, ShapeError, r"scores: expected shape \(B, C\+1\), got \(3,\)"),
        (SCORES, LABELS[:, 1:], ShapeError, r"labels: .* with B=1, C\+1=3, got \(1, 2\)"),
        (SCORES.int(), LABELS, TypeError, "scores: expected a floating-point tensor"),
        (SCORES[:0], LABELS[:0], ShapeError, r"scores: expected at least one image and class, got"),
        (SCORES + 2, LABELS, ValueError, "scores: expected values between 0 and 1, got values"),
        (SCORES, LABELS - 2, ValueError, "labels: expected values between 0 and 1, got values"),
    ],
)
def test_bad_input_is_refused(
    scores: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        patch_score_loss(scores, labels)
