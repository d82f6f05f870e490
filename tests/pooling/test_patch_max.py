"""Largest probability of any patch: loops, recorded head, gradient, precision, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.pooling import patch_max
from tests.helpers import assert_compiles


@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_it_matches_plain_loops(size: tuple[int, int], device: torch.device) -> None:
    logits = 3 * torch.randn(2, 4, *size, dtype=torch.float64)
    scores = patch_max(logits.to(device)).cpu()
    for b, c in np.ndindex(2, 4):
        found = []
        for y, x in np.ndindex(*size):
            weights = [math.exp(v) for v in logits[b, :, y, x].tolist()]
            found.append(weights[c] / sum(weights))
        assert scores[b, c].item() == pytest.approx(max(found), rel=1e-12)


def test_recorded_scores_are_reproduced(parity: Callable[[str], dict[str, Tensor]]) -> None:
    recorded = parity("systems/vit_pcm_head")
    logits = torch.einsum("kd,bdhw->bkhw", recorded["in_weight"], recorded["in_features"])
    torch.testing.assert_close(logits, recorded["out_logits"], rtol=0, atol=5e-5)
    torch.testing.assert_close(logits.softmax(1), recorded["out_probabilities"], rtol=0, atol=1e-5)
    torch.testing.assert_close(patch_max(logits), recorded["out_scores"], rtol=0, atol=1e-5)


@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0, 1e4, 1e30]))
def test_scores_are_probabilities_and_know_no_order(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(2, 3, 3, 4, generator=generator)
    scores = patch_max(logits)
    assert ((scores >= 0) & (scores <= 1)).all()
    # Some patch is of some class with at least an equal share.
    assert (scores.amax(dim=1) >= 1 / 3 - 1e-6).all()
    moved = logits.flatten(2)[..., torch.randperm(12, generator=generator)].view_as(logits)
    torch.testing.assert_close(patch_max(moved), scores)


def test_equal_logits_give_every_class_its_share_and_one_class_has_all() -> None:
    torch.testing.assert_close(patch_max(torch.full((1, 4, 5, 5), 7.0)), torch.full((1, 4), 0.25))
    assert patch_max(torch.randn(2, 1, 3, 3)).tolist() == [[1.0], [1.0]]


def test_the_gradient_goes_to_one_patch_of_each_class() -> None:
    logits = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(patch_max, logits)
    tied = torch.zeros(1, 2, 1, 3, requires_grad=True)
    patch_max(tied)[0, 1].backward()
    assert sorted(tied.grad[0, 1, 0].tolist()) == [0.0, 0.0, 0.25]


def test_precision() -> None:
    logits = torch.randn(2, 3, 8, 8)
    expected = patch_max(logits)
    assert patch_max(logits.double()).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(patch_max(logits.to(dtype)), patch_max(logits.to(dtype).float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(patch_max(logits), expected)
    assert_compiles(patch_max, logits)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"logits: expected shape \(B, C\+1, h, w\), got"):
        patch_max(torch.zeros(2, 3, 3))
    for shape in ((1, 0, 3, 3), (1, 2, 0, 3)):
        with pytest.raises(ShapeError, match="logits: expected at least one"):
            patch_max(torch.zeros(shape))
    with pytest.raises(TypeError, match="logits: expected a floating-point tensor"):
        patch_max(torch.zeros(1, 2, 3, 3, dtype=torch.long))
