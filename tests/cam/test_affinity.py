"""Maps spread to patches with like tokens, against loops written from the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.cam import affinity_cam, normalize_cam, token_affinity
from fsr.errors import ShapeError
from tests.helpers import assert_compiles


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    cam = torch.rand(2, 3, 3, 4, generator=generator, dtype=torch.float64)
    tokens = torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)
    return cam, tokens + 3


def affinity_by_loops(tokens: np.ndarray) -> np.ndarray:
    count = len(tokens)
    centred = tokens - tokens.mean(axis=0)
    found = np.eye(count)
    for i in range(count):
        for j in range(count):
            if i != j:
                norms = np.linalg.norm(centred[i]) * np.linalg.norm(centred[j])
                found[i, j] = max(0.0, centred[i] @ centred[j] / norms)
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_matrix_and_map_are_those_of_the_loops(power: int) -> None:
    cam, tokens = inputs()
    found = affinity_cam(cam, tokens, power)
    for b in range(2):
        matrix = affinity_by_loops(tokens[b].numpy())
        np.testing.assert_allclose(token_affinity(tokens)[b].numpy(), matrix, rtol=1e-9)
        spread = np.linalg.matrix_power(matrix, power)
        for c in range(3):
            values = spread @ cam[b, c].numpy().flatten()
            raised = values - values.min()
            expected = (raised / (raised.max() + 1e-5)).reshape(3, 4)
            np.testing.assert_allclose(found[b, c].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_rows_sum_to_one_and_no_token_is_unlike_itself() -> None:
    _, tokens = inputs()
    affinity = token_affinity(tokens)
    torch.testing.assert_close(affinity.sum(-1), torch.ones(2, 12).double())
    assert torch.equal(affinity.argmax(-1), torch.arange(12).expand(2, -1))


def test_gradients_are_right() -> None:
    cam, tokens = inputs()
    cam, tokens = cam[:1].requires_grad_(), tokens[:1].requires_grad_()
    assert torch.autograd.gradcheck(affinity_cam, (cam, tokens))


def test_tokens_that_are_the_same_spread_nothing() -> None:
    cam, _ = inputs()
    same = torch.full((2, 12, 5), 3.0, dtype=torch.float64)
    assert torch.equal(token_affinity(same), torch.eye(12).double().expand(2, -1, -1))
    torch.testing.assert_close(affinity_cam(cam, same), normalize_cam(cam))
    assert torch.equal(affinity_cam(0 * cam, same), torch.zeros_like(cam))
    one = affinity_cam(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4))
    assert one.item() == 0  # as of every constant map


def test_half_precision_is_computed_in_float32_and_the_graph_is_one() -> None:
    cam, tokens = (value.bfloat16() for value in inputs())
    found = affinity_cam(cam, tokens)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, affinity_cam(cam.float(), tokens.float()).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(affinity_cam(cam, tokens), found)
    assert_compiles(affinity_cam, *(value.float() for value in inputs()))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cam": torch.zeros(1, 2, 4)}, ShapeError, r"cam: .*\(B, C, H, W\)"),
        ({"tokens": torch.zeros(1, 5, 3)}, ShapeError, "tokens: .*N=4"),
        ({"cam": torch.zeros(1, 2, 2, 2).long()}, TypeError, "cam: .*floating"),
        ({"tokens": torch.zeros(1, 4, 3).long()}, TypeError, "tokens: .*floating"),
        ({"power": 0}, ValueError, "power: expected a positive integer, got 0"),
        ({"power": 2.0}, TypeError, "power: expected a positive integer, got 2.0"),
        ({"cam": torch.full((1, 2, 2, 2), torch.nan)}, ValueError, "cam: .*got NaN"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"cam": torch.zeros(1, 2, 2, 2), "tokens": torch.zeros(1, 4, 3)}
    with pytest.raises(error, match=message):
        affinity_cam(**(given | changes))
