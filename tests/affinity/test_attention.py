"""Affinity from attention against the recorded one, loops and its own promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.affinity import AttentionAffinity
from fsr.errors import ShapeError
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Parity = Callable[[str], dict[str, Tensor]]


def test_the_recorded_affinity_of_afa_is_reproduced(parity: Parity) -> None:
    recorded = parity("systems/afa_attention_affinity")
    attention = recorded["in_attention"].requires_grad_()
    module = AttentionAffinity(attention.shape[1])
    state = {"projection.weight": recorded["in_weight"], "projection.bias": recorded["in_bias"]}
    module.load_state_dict(state, strict=True)
    affinity = module(attention)
    torch.testing.assert_close(affinity, recorded["out_affinity"], rtol=0, atol=1e-5)
    affinity.square().sum().backward()
    first = attention.grad[:, : recorded["grad_attention_first_half"].shape[1]]
    for found, expected in (
        (first, recorded["grad_attention_first_half"]),
        (module.projection.weight.grad, recorded["grad_weight"]),
    ):
        reach = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * reach)


def test_it_is_that_of_the_loops() -> None:
    module = AttentionAffinity(3).double()
    maps = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    weight, bias = module.projection.weight.flatten().tolist(), module.projection.bias.item()
    found = module(maps)
    for b in range(2):
        for i in range(4):
            for j in range(4):
                pairs = [maps[b, k, i, j].item() + maps[b, k, j, i].item() for k in range(3)]
                total = bias + sum(w * pair for w, pair in zip(weight, pairs, strict=True))
                assert found[b, i, j].item() == pytest.approx(1 / (1 + math.exp(-total)))


def test_the_gradient_is_right() -> None:
    module = AttentionAffinity(2).double()
    maps = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, w, b: torch.func.functional_call(
            module, {"projection.weight": w, "projection.bias": b}, (m,)
        ),
        (maps, module.projection.weight, module.projection.bias),
    )


@given(st.integers(0, 1000))
def test_it_is_symmetric_and_permuting_tokens_permutes_it(seed: int) -> None:
    torch.manual_seed(seed)
    module, maps, order = AttentionAffinity(3), torch.randn(1, 3, 5, 5), torch.randperm(5)
    affinity = module(maps)
    # A product may be summed in another order on the other side of the diagonal.
    torch.testing.assert_close(affinity, affinity.transpose(1, 2), rtol=1e-6, atol=1e-7)
    shuffled = module(maps[:, :, order][..., order])
    torch.testing.assert_close(shuffled, affinity[:, order][..., order])


def test_it_starts_from_the_released_spread() -> None:
    weight = AttentionAffinity(20_000).projection.weight
    assert weight.shape == (1, 20_000, 1, 1)
    assert weight.std().item() == pytest.approx(math.sqrt(1 / 3), rel=0.03)
    assert abs(weight.mean().item()) < 0.02


@pytest.mark.parametrize("value", [0.0, 300.0, -3e4])
def test_constant_maps_are_finite(value: float) -> None:
    maps = torch.full((1, 2, 3, 3), value, requires_grad=True)
    affinity = AttentionAffinity(2)(maps)
    affinity.sum().backward()
    assert len(affinity.unique()) == 1
    assert torch.isfinite(affinity).all()
    assert torch.isfinite(maps.grad).all()
    assert AttentionAffinity(2)(maps[..., :1, :1]).shape == (1, 1, 1)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    module, maps = AttentionAffinity(2), 100 * torch.randn(1, 2, 4, 4)
    expected = module(maps.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(maps.bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_it_loads_copies_pickles_and_compiles() -> None:
    module, maps = AttentionAffinity(2), torch.randn(1, 2, 4, 4)
    assert_state_dict_round_trip(module, lambda: AttentionAffinity(2), maps)
    assert_deepcopy_after_forward(module, maps)
    assert_pickles(module, maps)
    assert_compiles(module, maps)
    assert repr(module).startswith("AttentionAffinity(\n  num_maps=2\n")


@pytest.mark.parametrize(
    ("attention", "error", "message"),
    [
        (torch.zeros(1, 3, 4, 4), ShapeError, r"attention: expected .* with maps=2, got \(1, 3"),
        (torch.zeros(1, 2, 4, 5), ShapeError, r"attention: expected .*got \(1, 2, 4, 5\)"),
        (torch.zeros(2, 4, 4), ShapeError, r"attention: expected shape \(B, maps, N, N\)"),
        (torch.zeros(1, 2, 4, 4).long(), TypeError, "attention: expected a floating"),
    ],
)
def test_bad_attention_is_refused(attention: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        AttentionAffinity(2)(attention)


def test_a_bad_number_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="num_maps: expected a positive integer, got 0"):
        AttentionAffinity(0)
    with pytest.raises(TypeError, match=r"num_maps: expected a positive integer, got 1\.5"):
        AttentionAffinity(1.5)
