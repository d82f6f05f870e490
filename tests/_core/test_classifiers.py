"""Weights of classifiers: one form for linear layers and 1x1 convolutions, messages by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fsr._core.classifiers import class_weight
from fsr.errors import ShapeError


def test_a_convolutions_weight_becomes_that_of_a_linear_layer() -> None:
    weight = torch.randn(3, 4, requires_grad=True)
    assert class_weight("w", weight, 4) is weight
    flat = class_weight("w", weight[:, :, None, None], 4)
    assert torch.equal(flat, weight)
    assert flat.requires_grad


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.zeros(3, 5), ShapeError, r"w: expected shape \(C, D\) with D=4, got \(3, 5\)"),
        (torch.zeros(3, 4, 3, 3), ShapeError, r"w: expected shape \(C, D, 1, 1\) with D=4, 1=1"),
        (torch.zeros(0, 4), ShapeError, "w: expected at least one class, got"),
        (torch.zeros(3, 4).int(), TypeError, "w: expected a floating-point tensor"),
        ([[0.0]], TypeError, r"w: expected a tensor \(C, D\), got list"),
    ],
)
def test_bad_weights_are_refused_by_name(weight: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        class_weight("w", weight, 4)
