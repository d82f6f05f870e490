"""Class tokens told apart: loops, recorded values, bounds, gradients, no class, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import class_token_separation
from tests.helpers import assert_compiles

LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])


def random_tokens(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64)


def by_loops(tokens: Tensor, labels: Tensor) -> float:
    blocks, batch, classes, _ = tokens.shape
    total = 0.0
    for b in range(batch):
        present = np.flatnonzero(labels[b].numpy() > 0)
        for c in present:
            for block in tokens[:, b].numpy():
                unit = [t / np.sqrt(sum(t * t)) for t in block]
                likeness = [float(unit[c] @ unit[k]) for k in range(classes)]
                loss = math.log(sum(math.exp(s) for s in likeness)) - likeness[c]
                total += loss / blocks / len(present) / batch
    return total


def test_the_loss_is_that_of_the_loops(device: torch.device) -> None:
    tokens = random_tokens()
    found = class_token_separation(tokens.to(device), LABELS.to(device)).item()
    assert found == pytest.approx(by_loops(tokens, LABELS), rel=1e-12)


def test_the_recorded_loss_and_gradient_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/mctformer")
    tokens = recorded["in_all_class_tokens"].clone().requires_grad_()
    last = tokens[-int(recorded["arg_contrast_layers"]) :]
    loss = class_token_separation(last, recorded["in_labels"])
    torch.testing.assert_close(loss, recorded["out_contrast"], rtol=1e-5, atol=0)
    loss.backward()
    expected = recorded["grad_all_class_tokens"]
    slack = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(tokens.grad, expected, rtol=0, atol=slack)


def test_the_gradient_is_right() -> None:
    tokens = random_tokens(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: class_token_separation(t, LABELS), tokens)
    (gradient,) = torch.autograd.grad(class_token_separation(tokens, LABELS), tokens)
    assert torch.equal(gradient.abs().sum(dim=(0, 2, 3)) > 0, LABELS.any(dim=1))


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_scale_and_order_do_not_matter_and_the_loss_has_bounds(seed: int, factor: float) -> None:
    tokens = random_tokens(seed)
    loss = class_token_separation(tokens, LABELS)
    torch.testing.assert_close(class_token_separation(factor * tokens, LABELS), loss)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(3, generator=generator)
    moved = class_token_separation(tokens[:, :, order].flip(0), LABELS[:, order])
    torch.testing.assert_close(moved, loss)
    # Two of the three images have a class.
    share = 2 / 3
    low, high = math.log(1 + 2 * math.exp(-2)), math.log(1 + 2 * math.exp(2))
    assert share * low <= loss.item() <= share * high


def test_tokens_at_right_angles_and_tokens_that_are_one() -> None:
    apart = torch.eye(3).expand(2, 1, 3, 3)
    loss = class_token_separation(apart, torch.tensor([[1, 0, 0]])).item()
    assert loss == pytest.approx(math.log(1 + 2 * math.exp(-1)))
    alike = torch.ones(2, 1, 3, 3)
    assert class_token_separation(alike, LABELS[:1]).item() == pytest.approx(math.log(3))
    # One class has nobody to be told from; tokens of zeros are like nobody, themselves included.
    assert class_token_separation(alike[:, :, :1], LABELS[:1, :1]).item() == 0
    nothing = torch.zeros(2, 1, 3, 3, requires_grad=True)
    loss_of_nothing = class_token_separation(nothing, LABELS[:1])
    assert loss_of_nothing.item() == pytest.approx(math.log(3))
    (gradient,) = torch.autograd.grad(loss_of_nothing, nothing)
    assert torch.isfinite(gradient).all()


def test_a_batch_without_any_class_is_an_attached_zero() -> None:
    tokens = random_tokens().requires_grad_()
    loss = class_token_separation(tokens, 0 * LABELS)
    assert (loss.item(), loss.requires_grad) == (0.0, True)
    (gradient,) = torch.autograd.grad(loss, tokens)
    assert gradient.abs().max() == 0


def test_precision() -> None:
    tokens = random_tokens().float()
    expected = class_token_separation(tokens, LABELS)
    for dtype in (torch.float16, torch.bfloat16):
        half = tokens.to(dtype)
        found = class_token_separation(half, LABELS)
        assert found.dtype == torch.float32
        assert torch.equal(found, class_token_separation(half.float(), LABELS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(class_token_separation(tokens, LABELS), expected)
    assert_compiles(class_token_separation, tokens, LABELS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"class_tokens": torch.zeros(3, 3, 4)}, ShapeError, r"class_tokens: .*\(L, B, C, D\)"),
        ({"class_tokens": torch.zeros(0, 3, 3, 4)}, ShapeError, "class_tokens: .*one block"),
        ({"class_tokens": torch.zeros(2, 3, 3, 4).int()}, TypeError, "class_tokens: .*floating"),
        ({"labels": torch.ones(3, 2)}, ShapeError, "labels: .*B=3, C=3"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"class_tokens": torch.zeros(2, 3, 3, 4), "labels": LABELS}
    with pytest.raises(error, match=message):
        class_token_separation(**(given | changes))
