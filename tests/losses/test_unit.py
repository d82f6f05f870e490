"""Unit vectors: torch's normalize with a gradient of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fsr.losses._unit import EPS, UnitVectors


def unit(vectors: Tensor) -> Tensor:
    found: Tensor = UnitVectors.apply(vectors)[0]
    return found


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-12, 0.0])
def test_values_and_gradient_are_those_of_normalize(scale: float) -> None:
    vectors = (scale * torch.randn(2, 5, 4, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(2, 5, 4, dtype=torch.float64)
    expected = F.normalize(vectors, dim=-1, eps=EPS)
    found = unit(vectors)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad((found * weight).sum(), vectors)
    (other,) = torch.autograd.grad((expected * weight).sum(), vectors)
    torch.testing.assert_close(gradient, other)


def test_first_and_second_derivatives_are_those_of_finite_differences() -> None:
    vectors = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (vectors,))
    assert torch.autograd.gradgradcheck(unit, (vectors,))
