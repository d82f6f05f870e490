"""BECO's co-training loss against the released code and plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.losses import cotraining_loss
from tests.helpers import assert_compiles, tensors_of

IGNORE = 255


def make_case(
    seed: int = 0, size: tuple[int, int] = (3, 5)
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two pairs of logits, labels, confidence and boundary."""
    draw = torch.Generator().manual_seed(seed)
    one, two = torch.randn(2, 2, 4, 3, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, *size), generator=draw)
    labels[torch.rand(2, *size, generator=draw) < 0.3] = IGNORE
    confident, boundary = torch.rand(2, 2, *size, generator=draw) < 0.5
    return one, two, labels, confident, boundary


def entropy(scores: Tensor, label: int) -> float:
    return float(np.log(np.exp(scores.numpy()).sum()) - scores[label])


def by_loops(
    one: Tensor,
    two: Tensor,
    labels: Tensor,
    confident: Tensor,
    boundary: Tensor,
    w: float,
    v: float,
) -> list[float]:
    """The four terms pixel by pixel."""
    terms = []
    for own, other in ((one, two), (two, one)):
        trusted = doubted = 0.0
        for b, y, x in np.ndindex(labels.shape):
            label, c, rim = labels[b, y, x], float(confident[b, y, x]), float(boundary[b, y, x])
            if label != IGNORE:
                trusted += entropy(own[b, :, y, x], int(label)) * c * (1 + w * rim)
            decision = int(other[b, :, y, x].argmax())
            doubted += entropy(own[b, :, y, x], decision) * (1 - c) * (1 + v * rim)
        terms += [trusted / labels.numel(), doubted / labels.numel()]
    return terms


# -- values and gradients -------------------------------------------------------------------------


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("systems/beco")
    logits = arrays["in_logits1"].requires_grad_()
    total, parts = cotraining_loss(
        logits,
        arrays["in_logits2"],
        *(arrays[f"in_{name}"] for name in ("labels", "confident", "boundary")),
        confident_weight=arrays["arg_weight_confident"].item(),
        unconfident_weight=arrays["arg_weight_unconfident"].item(),
    )
    total.backward()
    torch.testing.assert_close(total, arrays["out_loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts.ce1, arrays["out_ce1"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts.cot1, arrays["out_cot1"], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, arrays["grad_logits1"], rtol=1e-5, atol=1e-8)


@given(seed=st.integers(0, 2**16), w=st.floats(0, 2), v=st.floats(0, 2), larger=st.booleans())
def test_is_that_of_plain_loops(seed: int, w: float, v: float, larger: bool) -> None:
    one, two, *rest = make_case(seed, (7, 6) if larger else (3, 5))
    one_resized, two_resized = (
        F.interpolate(logits, rest[0].shape[1:], mode="bilinear", align_corners=False)
        for logits in (one, two)
    )
    labels, confident, boundary = rest
    expected = by_loops(one_resized, two_resized, labels, confident, boundary, w, v)
    total, parts = cotraining_loss(one, two, *rest, confident_weight=w, unconfident_weight=v)
    assert [part.item() for part in parts] == pytest.approx(expected, rel=1e-9)
    assert total.item() == pytest.approx(sum(expected), rel=1e-9)


def test_the_weights_are_those_of_the_released_code_unless_given() -> None:
    case = make_case()
    expected = cotraining_loss(*case, confident_weight=0.2, unconfident_weight=0.0)
    assert cotraining_loss(*case).total == expected.total


def test_gradients_are_those_of_finite_differences() -> None:
    one, two, *rest = make_case(size=(6, 10))
    assert torch.autograd.gradcheck(
        lambda a, b: cotraining_loss(a, b, *rest, unconfident_weight=0.5).total,
        (one.requires_grad_(), two.requires_grad_()),
    )


def test_what_a_network_decides_teaches_the_other_alone() -> None:
    one, two, *rest = make_case()
    one.requires_grad_()
    two.requires_grad_()
    parts = cotraining_loss(one, two, *rest).parts
    (parts.ce1 + parts.cot1).backward()
    assert one.grad.any()
    assert two.grad is None


# -- properties and nothing to learn from ---------------------------------------------------------


@given(seed=st.integers(0, 2**16))
def test_the_networks_may_change_places(seed: int) -> None:
    one, two, *rest = make_case(seed)
    total, parts = cotraining_loss(one, two, *rest)
    swapped, others = cotraining_loss(two, one, *rest)
    torch.testing.assert_close(swapped, total)
    assert (others.ce1, others.cot1, others.ce2, others.cot2) == (*parts[2:], *parts[:2])


@given(seed=st.integers(0, 2**16))
def test_soft_confidence_lies_between(seed: int) -> None:
    one, two, labels, confident, boundary = make_case(seed)
    totals = [
        cotraining_loss(one, two, labels, torch.full_like(one[:, 0], share), boundary).total
        for share in (0.0, 0.25, 1.0)
    ]
    torch.testing.assert_close(totals[1], 0.75 * totals[0] + 0.25 * totals[2])
    hard = cotraining_loss(one, two, labels, confident, boundary).total
    assert hard == cotraining_loss(one, two, labels, confident.long(), boundary.float()).total


def test_confident_pixels_without_a_label_are_an_attached_zero() -> None:
    one, two, labels, confident, boundary = make_case()
    ignored, sure = torch.full_like(labels, IGNORE), torch.ones_like(confident)
    total, _ = cotraining_loss(one.requires_grad_(), two, ignored, sure, boundary)
    assert total == 0
    total.backward()
    assert torch.equal(one.grad, torch.zeros_like(one))
    # Where it is not confident of its label, it needs none.
    parts = cotraining_loss(one, two, ignored, ~sure, boundary).parts
    torch.testing.assert_close(parts.cot1, F.cross_entropy(one, two.argmax(1)))
    assert parts.ce1 == parts.ce2 == 0


def test_a_single_pixel() -> None:
    logits = torch.zeros(1, 2, 1, 1)
    sure = torch.ones(1, 1, 1).bool()
    total, _ = cotraining_loss(logits, logits, torch.ones(1, 1, 1).long(), sure, sure)
    assert total.item() == pytest.approx(2 * 1.2 * np.log(2))


# -- types, compilation, errors -------------------------------------------------------------------


def test_half_precision_and_autocast_are_float32(device: torch.device) -> None:
    one, two, *rest = (tensor.to(device) for tensor in make_case())
    one, two = one.bfloat16(), two.bfloat16()
    total, parts = cotraining_loss(one, two, *rest)
    assert {part.dtype for part in tensors_of((total, parts))} == {torch.float32}
    assert total == cotraining_loss(one.float(), two.float(), *rest).total
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert cotraining_loss(one.float(), two.float(), *rest).total == total


def test_compiles_as_one_graph() -> None:
    assert_compiles(cotraining_loss, *make_case(size=(6, 10)))


LOGITS, LABELS = torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LOGITS[0], LOGITS, LABELS, LABELS, LABELS), ShapeError, r"logits1: expected shape \(B"),
        ((LOGITS, LOGITS[:, :2], LABELS, LABELS, LABELS), ShapeError, r"logits2: .* C\+1=3, got"),
        (
            (LOGITS, LOGITS[..., :0], LABELS, LABELS, LABELS),
            ShapeError,
            "logits2: expected at least one pixel",
        ),
        (
            (LOGITS, LOGITS.long(), LABELS, LABELS, LABELS),
            TypeError,
            "logits2: expected a floating",
        ),
        ((LOGITS, LOGITS, LABELS[0], LABELS, LABELS), ShapeError, "labels: expected shape"),
        (
            (LOGITS, LOGITS, LABELS.float(), LABELS, LABELS),
            TypeError,
            "labels: expected an integer",
        ),
        ((LOGITS, LOGITS, LABELS + 3, LABELS, LABELS), ValueError, "labels: expected classes 0..2"),
        ((LOGITS, LOGITS, LABELS, LABELS[0], LABELS), ShapeError, "confident: .* with B=1, H=4"),
        ((LOGITS, LOGITS, LABELS, LABELS, LABELS[0]), ShapeError, "boundary: .* with B=1, H=4"),
        ((LOGITS, LOGITS, LABELS, None, LABELS), TypeError, "confident: expected a tensor"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cotraining_loss(*arguments)


@pytest.mark.parametrize("name", ["confident_weight", "unconfident_weight"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, r"expected a number in \[0.0, inf\], got -1"),
        (float("inf"), ValueError, "expected a finite number, got inf"),
        (float("nan"), ValueError, "expected a number in .* got nan"),
        ("1", TypeError, "expected a number, got str"),
    ],
)
def test_bad_weights_are_refused(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        cotraining_loss(LOGITS, LOGITS, LABELS, LABELS, LABELS, **{name: value})
