"""Similarities among tokens, against loops written from the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import relation_loss
from tests.helpers import assert_compiles


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    return tokens, torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_loss_is_that_of_the_loops() -> None:
    tokens, target = inputs()
    errors = [
        (cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2
        for s, t in zip(tokens.numpy(), target.numpy(), strict=True)
        for i in range(5)
        for j in range(5)
    ]
    assert relation_loss(tokens, target).item() == pytest.approx(sum(errors) / 50, rel=1e-12)


def test_the_gradient_is_right_and_the_target_has_none() -> None:
    tokens, target = inputs()
    tokens.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: relation_loss(s, target.detach()), (tokens,))
    relation_loss(tokens, target).backward()
    assert target.grad is None
    assert tokens.grad is not None
    assert tokens.grad.abs().sum() > 0


def test_scale_and_rotation_of_either_do_not_matter() -> None:
    tokens, target = inputs()
    expected = relation_loss(tokens, target)
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64))
    torch.testing.assert_close(relation_loss(3 * tokens @ rotation, 0.1 * target), expected)
    assert relation_loss(tokens, 2 * tokens @ rotation).item() < 1e-20


def test_tokens_of_zeros_and_a_single_one_are_finite() -> None:
    zeros = torch.zeros(1, 3, 4, requires_grad=True)
    loss = relation_loss(zeros, torch.ones(1, 3, 2))
    assert loss.item() == pytest.approx(1.0)
    loss.backward()
    assert zeros.grad is not None
    assert bool(torch.isfinite(zeros.grad).all())
    assert relation_loss(torch.ones(1, 1, 4), torch.ones(1, 1, 2)).item() == pytest.approx(0.0)


def test_half_precision_is_computed_in_float32_and_the_graph_is_one() -> None:
    tokens, target = (value.bfloat16() for value in inputs())
    half = relation_loss(tokens, target)
    assert half.dtype == torch.float32
    assert half.item() == relation_loss(tokens.float(), target.float()).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert relation_loss(tokens, target).item() == half.item()
    assert_compiles(relation_loss, *(value.float() for value in inputs()))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": torch.zeros(2, 3)}, ShapeError, r"tokens: .*\(B, N, D\)"),
        ({"target_tokens": torch.zeros(2, 4, 5)}, ShapeError, "target_tokens: .*N=3"),
        ({"tokens": torch.zeros(2, 3, 4).long()}, TypeError, "tokens: .*floating"),
        ({"target_tokens": torch.zeros(2, 3, 4).long()}, TypeError, "target_tokens: .*floating"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"tokens": torch.zeros(2, 3, 4), "target_tokens": torch.zeros(2, 3, 5)}
    with pytest.raises(error, match=message):
        relation_loss(**(given | changes))
