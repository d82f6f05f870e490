"""Maximum over the patches: values, gradient, types, and bad input."""

from __future__ import annotations

import pytest
import torch

from fsr.errors import ShapeError
from fsr.pooling import max_pool
from tests.helpers import assert_compiles


def test_every_dimension_has_the_largest_of_its_patches() -> None:
    tokens = torch.tensor([[[1.0, -5.0], [3.0, -2.0]], [[0.0, 7.0], [-1.0, 7.0]]])
    assert max_pool(tokens).tolist() == [[3.0, -2.0], [0.0, 7.0]]


def test_the_gradient_goes_to_one_patch_where_several_share_the_maximum() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [1.0, 0.0]]], requires_grad=True)
    max_pool(tokens).sum().backward()
    assert tokens.grad is not None
    assert sorted(tokens.grad[0, :, 0].tolist()) == [0.0, 1.0]
    assert tokens.grad[0, :, 1].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert max_pool(torch.ones(2, 3, 4, dtype=dtype)).dtype == dtype


def test_compiles_as_one_graph() -> None:
    assert_compiles(max_pool, torch.randn(2, 5, 3))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"tokens: expected shape \(B, N, D\), got \(2, 3\)"):
        max_pool(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="tokens: expected at least one token"):
        max_pool(torch.ones(2, 0, 3))
    with pytest.raises(TypeError, match="tokens: expected a floating-point tensor"):
        max_pool(torch.ones(2, 3, 4, dtype=torch.long))
    with pytest.raises(TypeError, match="tokens: expected a tensor"):
        max_pool([1.0])  # type: ignore[arg-type]
