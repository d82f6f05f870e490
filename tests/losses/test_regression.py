"""Masked tokens that follow the teacher's tokens, against loops written from the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import REGRESSION_FORMS, regression_loss
from tests.helpers import assert_compiles


def inputs(batch: int = 3, count: int = 5, width: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    student, teacher = torch.randn(2, batch, count, width, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, count, generator=generator) < 0.5
    mask[0] = False  # an image of which nothing is masked
    return 2 * student, 3 * teacher + 1, mask


def by_loops(student: Tensor, teacher: Tensor, mask: Tensor, form: str) -> float:
    images = []
    for s, t, m in zip(student.numpy(), teacher.numpy(), mask.numpy(), strict=True):
        distances = []
        for i in np.flatnonzero(m):
            target = (t[i] - t[i].mean()) / np.sqrt(t[i].var() + 1e-5)
            if form == "cosine":
                norms = np.linalg.norm(s[i]) * np.linalg.norm(target)
                distances.append(1 - s[i] @ target / norms)
            else:
                entries = [
                    0.5 * error**2 if error < 1 else error - 0.5 for error in abs(s[i] - target)
                ]
                distances.append(sum(entries) / len(entries))
        images.append(sum(distances) / max(1, len(distances)))
    return sum(images) / len(images)


@pytest.mark.parametrize("form", REGRESSION_FORMS)
def test_the_loss_is_that_of_the_loops(form: Any) -> None:
    student, teacher, mask = inputs()
    assert mask.sum(1).tolist()[1:] != [0, 0]
    found = regression_loss(student, teacher, mask, form).item()
    assert found == pytest.approx(by_loops(student, teacher, mask, form), rel=1e-9)


@pytest.mark.parametrize("form", REGRESSION_FORMS)
def test_gradients_are_right_and_reach_masked_tokens_of_the_student_alone(form: Any) -> None:
    student, teacher, mask = inputs()
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: regression_loss(s, teacher.detach(), mask, form), (student,)
    )
    regression_loss(student, teacher, mask, form).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert torch.equal(student.grad.abs().sum(-1) > 0, mask)


def test_the_cosine_sees_no_scale_and_both_see_no_shift_of_the_teacher() -> None:
    student, teacher, mask = inputs()
    cosine = regression_loss(student, teacher, mask)
    torch.testing.assert_close(regression_loss(9 * student, teacher, mask), cosine)
    for form in REGRESSION_FORMS:
        expected = regression_loss(student, teacher, mask, form)
        moved = regression_loss(student, 5 * teacher - 3, mask, form)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("form", REGRESSION_FORMS)
def test_nothing_masked_and_constant_tokens_are_finite(form: Any) -> None:
    student = torch.zeros(2, 3, 4, requires_grad=True)
    teacher = torch.full((2, 3, 4), 7.0)
    nothing = regression_loss(student, teacher, torch.zeros(2, 3, dtype=torch.bool), form)
    assert nothing.item() == 0
    nothing.backward()
    everything = regression_loss(student, teacher, torch.ones(2, 3, dtype=torch.bool), form)
    # A constant token has no direction: at the greatest distance of none, or at none of a zero.
    assert everything.item() == {"cosine": 1.0, "smooth_l1": 0.0}[form]
    everything.backward()
    assert student.grad is not None
    assert student.grad.abs().sum().item() == 0


@pytest.mark.parametrize("form", REGRESSION_FORMS)
def test_half_precision_is_computed_in_float32_and_the_graph_is_one(form: Any) -> None:
    student, teacher, mask = inputs()
    half = regression_loss(student.bfloat16(), teacher.bfloat16(), mask, form)
    assert half.dtype == torch.float32
    whole = regression_loss(student.bfloat16().float(), teacher.bfloat16().float(), mask, form)
    assert half.item() == whole.item()
    assert_compiles(regression_loss, student.float(), teacher.float(), mask, form)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"form": "l2"}, ValueError, "form: expected one of 'cosine', 'smooth_l1', got 'l2'"),
        ({"student_tokens": torch.zeros(2, 3)}, ShapeError, r"student_tokens: .*\(B, N, D\)"),
        ({"teacher_tokens": torch.zeros(2, 3, 5)}, ShapeError, "teacher_tokens: .*D=4"),
        ({"mask": torch.zeros(2, 4, dtype=torch.bool)}, ShapeError, "mask: .*N=3"),
        ({"mask": torch.zeros(2, 3)}, TypeError, "mask: expected a boolean tensor"),
        ({"student_tokens": torch.zeros(2, 3, 4).long()}, TypeError, "student_tokens: .*floating"),
        ({"teacher_tokens": torch.zeros(2, 3, 4).long()}, TypeError, "teacher_tokens: .*floating"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {
        "student_tokens": torch.zeros(2, 3, 4),
        "teacher_tokens": torch.zeros(2, 3, 4),
        "mask": torch.zeros(2, 3, dtype=torch.bool),
    }
    with pytest.raises(error, match=message):
        regression_loss(**(given | changes))
