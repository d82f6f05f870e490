"""Boundaries of token labels, and Eq. 8 with weights on its tokens, against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.losses import SelfReinforcementLoss, boundary_weights, label_boundary, uncertain_loss
from tests.helpers import assert_compiles, assert_same


def random_labels(batch: int = 2, height: int = 6, width: int = 7) -> Tensor:
    return torch.tensor([0, 1, 2, 255])[torch.randint(4, (batch, height, width))]


def boundary_by_loops(labels: Tensor) -> Tensor:
    found = []
    for image in labels.tolist():
        height, width = len(image), len(image[0])
        for y in range(height):
            for x in range(width):
                near = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                inside = [(v, u) for v, u in near if 0 <= v < height and 0 <= u < width]
                found.append(any(image[v][u] != image[y][x] for v, u in inside))
    return torch.tensor(found).view_as(labels)


def loss_by_loops(
    student: Tensor, teacher: Tensor, mask: Tensor, weights: Tensor, temperature: float
) -> float:
    """Eq. 8 as the weighted mean over each image's masked tokens, token by token."""
    images = []
    for b in range(mask.shape[0]):
        total = above = 0.0
        for i in range(mask.shape[1]):
            if mask[b, i]:
                logits = [s / temperature for s in student[b, i].tolist()]
                norm = math.log(sum(math.exp(value) for value in logits))
                targets = teacher[b, i].tolist()
                cross = -sum(p * (v - norm) for p, v in zip(targets, logits, strict=True))
                total += weights[b, i].item() * cross
                above += weights[b, i].item()
        images.append(total / above if above else 0.0)
    return sum(images) / len(images)


def outputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    student = torch.randn(3, 8, 5, dtype=dtype)
    teacher = torch.randn(3, 8, 5, dtype=dtype).softmax(dim=-1)
    mask, weights = torch.rand(3, 8) < 0.5, 1 + torch.rand(3, 8, dtype=dtype)
    mask[1] = False
    return student, teacher, mask, weights


# -- the boundary ---------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 5))
def test_the_boundary_is_that_of_plain_loops(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    labels = random_labels(2, height, width)
    assert torch.equal(label_boundary(labels), boundary_by_loops(labels))


def test_corners_do_not_touch_and_flat_labels_have_no_boundary() -> None:
    labels = torch.zeros(1, 3, 3, dtype=torch.long)
    assert not label_boundary(labels).any()
    labels[0, 1, 1] = 7
    assert label_boundary(labels)[0].long().tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def test_weights_are_one_and_one_more_times_the_weight() -> None:
    labels = random_labels()
    weights = boundary_weights(labels, 0.5)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, 1 + 0.5 * boundary_by_loops(labels).float())
    assert torch.equal(boundary_weights(labels, 0), torch.ones(labels.shape))


# -- the loss -------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_mean_of_plain_loops() -> None:
    student, teacher, mask, weights = outputs()
    loss = uncertain_loss(student, teacher, mask, 0.3, weights=weights)
    assert loss.item() == pytest.approx(loss_by_loops(student, teacher, mask, weights, 0.3))


@pytest.mark.parametrize("value", [0.25, 1.0, 7.0])
def test_equal_weights_leave_the_loss_as_it_is(value: float) -> None:
    student, teacher, mask, weights = outputs()
    plain = uncertain_loss(student, teacher, mask)
    weighted = uncertain_loss(student, teacher, mask, weights=torch.full_like(weights, value))
    torch.testing.assert_close(weighted, plain)


def test_a_loss_that_is_equal_everywhere_keeps_its_value_under_any_weights() -> None:
    student, teacher, mask, weights = outputs()
    student[:], teacher[:] = student[0, 0].clone(), teacher[0, 0].clone()
    weighted = uncertain_loss(student, teacher, mask, weights=weights)
    torch.testing.assert_close(weighted, uncertain_loss(student, teacher, mask))


def test_tokens_of_weight_zero_do_not_count_and_none_left_is_an_attached_zero() -> None:
    student, teacher, mask, weights = outputs()
    weights[:, ::2] = 0
    narrower = mask.clone()
    narrower[:, ::2] = False
    expected = loss_by_loops(student, teacher, narrower, weights, 0.1)
    loss = uncertain_loss(student, teacher, mask, weights=weights)
    assert loss.item() == pytest.approx(expected)
    student.requires_grad_()
    nothing = uncertain_loss(student, teacher, mask, weights=torch.zeros_like(weights))
    assert nothing.item() == 0
    nothing.backward()
    assert student.grad is not None
    assert not student.grad.any()


def test_gradients_in_double_precision_and_none_into_the_weights() -> None:
    student, teacher, mask, weights = outputs()
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: uncertain_loss(s, teacher, mask, 0.5, weights=weights), (student,)
    )
    weights.requires_grad_()
    uncertain_loss(student, teacher, mask, weights=weights).backward()
    assert weights.grad is None


def test_the_module_hands_the_weights_on() -> None:
    student, view1, view2 = torch.randn(3, 2, 1 + 9, 4)
    mask, weights = torch.rand(2, 9) < 0.6, 1 + torch.rand(2, 9)
    loss = SelfReinforcementLoss(4).eval()
    uncertain, confident = loss(student, view1, view2, mask, 0.05, weights=weights)
    target = (view2[:, 1:] / 0.05).softmax(dim=-1)
    expected = uncertain_loss(student[:, 1:], target, mask, weights=weights)
    torch.testing.assert_close(uncertain, expected)
    plain = loss(student, view1, view2, mask, 0.05)
    assert torch.equal(confident, plain.confident)
    assert not torch.equal(uncertain, plain.uncertain)
    assert_same(loss(student, view1, view2, mask, 0.05, weights=None), plain)


def test_half_precision_and_autocast_stay_near_single() -> None:
    student, teacher, mask, weights = outputs(torch.float32)
    expected = uncertain_loss(student, teacher, mask, weights=weights)
    half = uncertain_loss(student.bfloat16(), teacher.bfloat16(), mask, weights=weights.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(uncertain_loss(student, teacher, mask, weights=weights), expected)


def test_devices(device: torch.device) -> None:
    labels = random_labels()
    weights = boundary_weights(labels.to(device), 0.5)
    assert weights.device.type == device.type
    assert torch.equal(weights.cpu(), boundary_weights(labels, 0.5))


def test_the_functions_compile_as_one_graph() -> None:
    assert_compiles(label_boundary, random_labels())
    assert_compiles(boundary_weights, random_labels(), 0.5)
    student, teacher, mask, weights = outputs(torch.float32)
    assert_compiles(uncertain_loss, student, teacher, mask, weights=weights)


# -- bad input ------------------------------------------------------------------------------------


def test_bad_labels_and_weights_of_boundaries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels: expected shape \(B, H, W\), got \(6, 7\)"):
        label_boundary(random_labels()[0])
    with pytest.raises(TypeError, match=r"labels: expected an integer tensor, got torch.float32"):
        label_boundary(random_labels().float())
    with pytest.raises(ValueError, match=r"weight: expected a number in \[0.0, inf\], got -1"):
        boundary_weights(random_labels(), -1)
    with pytest.raises(ValueError, match=r"weight: expected a number in .* got nan"):
        boundary_weights(random_labels(), math.nan)
    with pytest.raises(ValueError, match=r"weight: expected a finite number, got inf"):
        boundary_weights(random_labels(), math.inf)
    with pytest.raises(TypeError, match=r"weight: expected a number, got str"):
        boundary_weights(random_labels(), "1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (torch.ones(3, 7), ValueError, r"weights: expected shape \(B, N\) with B=3, N=8"),
        ([1.0], TypeError, r"weights: expected a tensor \(B, N\), got list"),
        (torch.ones(3, 8).long(), TypeError, r"weights: expected a floating-point tensor"),
        (torch.full((3, 8), -1.0), ValueError, r"weights: expected finite .* from -1 to -1"),
        (torch.full((3, 8), torch.nan), ValueError, r"weights: expected finite .* from nan to nan"),
        (torch.full((3, 8), torch.inf), ValueError, r"weights: expected finite .* from inf to inf"),
    ],
)
def test_bad_weights_of_the_loss_are_refused(
    weights: Tensor, error: type[Exception], message: str
) -> None:
    student, teacher, mask, _ = outputs()
    with pytest.raises(error, match=message):
        uncertain_loss(student, teacher, mask, weights=weights)
