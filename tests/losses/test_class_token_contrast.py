"""Class-token contrast against loops, the recorded loss and its own promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import ClassTokenContrastLoss, class_token_contrast
from tests.helpers import assert_compiles, assert_pickles, assert_state_dict_round_trip

Parity = Callable[[str], dict[str, Tensor]]


def case(seed: int = 0, batch: int = 3, views: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(views, batch, 4, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, batch, 4, generator=generator, dtype=torch.float64)
    positive = torch.rand(batch, views, generator=generator) > 0.5
    return student, teacher, positive


def by_loops(student: Tensor, teacher: Tensor, positive: Tensor, temperature: float) -> float:
    views, batch, width = student.shape
    losses = []
    for b in range(batch):
        total = 0.0
        for t in range(len(teacher)):
            e = [
                math.exp(
                    sum(float(teacher[t, b, k] * student[v, b, k]) for k in range(width))
                    / temperature
                )
                for v in range(views)
            ]
            n = sum(e[v] for v in range(views) if not positive[b, v]) + 1e-4
            total -= math.log(1 / (1 + n))
            total -= sum(math.log(e[v] / (e[v] + n)) for v in range(views) if positive[b, v])
        losses.append(total / len(teacher) / (int(positive[b].sum()) + 1e-4))
    return sum(losses) / batch


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_loss_is_that_of_the_loops(temperature: float) -> None:
    for seed in range(4):
        student, teacher, positive = case(seed)
        found = class_token_contrast(student, teacher, positive, temperature)
        expected = by_loops(student, teacher, positive, temperature)
        assert found.item() == pytest.approx(expected, rel=1e-12)
        module = ClassTokenContrastLoss(temperature)(student, teacher, positive.int())
        assert torch.equal(module, found)


def test_the_recorded_loss_of_toco_is_reproduced(parity: Parity) -> None:
    recorded = parity("systems/toco_ctc")
    batch, views = recorded["in_flags"].shape
    flat = recorded["in_student"].requires_grad_()
    loss = class_token_contrast(
        flat.unflatten(0, (views, batch)),
        recorded["in_teacher"].unflatten(0, (2, batch)),
        recorded["in_flags"],
        recorded["arg_temperature"].item(),
    )
    (grad,) = torch.autograd.grad(loss, flat)
    torch.testing.assert_close(loss, recorded["out_loss"], rtol=1e-4, atol=0)
    reach = recorded["grad_student"].abs().max().item()
    torch.testing.assert_close(grad, recorded["grad_student"], rtol=0, atol=1e-4 * reach)


def test_the_gradient_is_right_and_the_teachers_views_are_constants() -> None:
    student, teacher, positive = case(views=4)
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: class_token_contrast(s, teacher.detach(), positive), (student.requires_grad_(),)
    )
    class_token_contrast(student, teacher, positive).backward()
    assert teacher.grad is None


@given(st.integers(0, 1000))
def test_the_order_of_views_and_images_does_not_count(seed: int) -> None:
    student, teacher, positive = case(seed)
    generator = torch.Generator().manual_seed(seed)
    views, images = torch.randperm(6, generator=generator), torch.randperm(3, generator=generator)
    plain = class_token_contrast(student, teacher, positive)
    shuffled = class_token_contrast(
        student[views][:, images], teacher.flip(0)[:, images], positive[images][:, views]
    )
    torch.testing.assert_close(shuffled, plain)


@given(st.integers(0, 1000))
def test_a_negative_that_comes_closer_costs_more(seed: int) -> None:
    student, teacher, positive = case(seed)
    positive[:, 0], positive[:, 1] = True, False
    direction = torch.zeros_like(student)
    direction[1] = teacher.sum(dim=0)
    nearer = class_token_contrast(student + 0.1 * direction, teacher, positive)
    assert nearer > class_token_contrast(student, teacher, positive)


@pytest.mark.parametrize("scale", [0.0, 50.0, 1e4])
def test_large_similarities_do_not_overflow(scale: float) -> None:
    student, teacher, positive = (value.float() for value in case())
    student = (scale * student).requires_grad_()
    loss = class_token_contrast(student, scale * teacher, positive)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(student.grad).all()


def test_one_image_of_one_view() -> None:
    student, teacher = torch.zeros(1, 1, 2), torch.zeros(2, 1, 2)
    alone = class_token_contrast(student, teacher, torch.ones(1, 1))
    assert alone.item() == pytest.approx(2 * math.log(1 + 1e-4) / (1 + 1e-4), rel=1e-3)
    without = class_token_contrast(student, teacher, torch.zeros(1, 1))
    assert without.item() == pytest.approx(math.log(2 + 1e-4) / 1e-4, rel=1e-5)


def test_no_image_is_an_attached_zero() -> None:
    student = torch.zeros(4, 0, 3, requires_grad=True)
    loss = class_token_contrast(student, torch.zeros(2, 0, 3), torch.zeros(0, 4))
    assert loss.item() == 0.0
    loss.backward()


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    student, teacher, positive = case()
    half = (student.bfloat16(), teacher.bfloat16(), positive)
    expected = class_token_contrast(half[0].float(), half[1].float(), positive)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = class_token_contrast(*half)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_it_compiles_and_the_module_keeps_no_state() -> None:
    inputs = [value.float() for value in case()]
    assert_compiles(ClassTokenContrastLoss(), *inputs)
    assert_state_dict_round_trip(ClassTokenContrastLoss(), ClassTokenContrastLoss, *inputs)
    assert_pickles(ClassTokenContrastLoss(), *inputs)
    assert repr(ClassTokenContrastLoss(1.0)) == "ClassTokenContrastLoss(temperature=1.0)"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"student": torch.zeros(20, 3)}, ShapeError, r"student: expected shape \(V, B, K\)"),
        ({"teacher": torch.zeros(2, 3, 4)}, ShapeError, "teacher: .*B=2, K=4"),
        ({"positive": torch.zeros(6, 2)}, ShapeError, "positive: .*B=2, V=6"),
        ({"student": torch.zeros(6, 2, 4).long()}, TypeError, "student: expected a floating"),
        ({"teacher": torch.zeros(2, 2, 4).long()}, TypeError, "teacher: expected a floating"),
        ({"temperature": 0.0}, ValueError, r"temperature: expected a number in \(0.0, inf\), got"),
        ({"temperature": "a"}, TypeError, "temperature: expected a number, got str"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = {"student": torch.zeros(6, 2, 4), "teacher": torch.zeros(2, 2, 4)}
    good["positive"] = torch.zeros(2, 6)
    with pytest.raises(error, match=message):
        class_token_contrast(**(good | changes))


def test_the_module_refuses_a_bad_temperature() -> None:
    with pytest.raises(ValueError, match=r"temperature: .*got -1"):
        ClassTokenContrastLoss(-1.0)
