"""Scaling and shifting by an image's attributes, and the module that derives them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.decoder import GlobalCueInjection, adain
from fsr.errors import ShapeError
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Floats = NDArray[np.float64]
Recorded = Callable[[str], dict[str, Tensor]]


def build() -> GlobalCueInjection:
    return GlobalCueInjection(5, 3, 2)


def convolved(weight: Tensor, maps: Floats) -> Floats:
    return np.asarray(np.einsum("od,bdhw->bohw", weight.detach()[:, :, 0, 0].numpy(), maps))


def normalised(maps: Floats) -> Floats:
    """Every channel to mean 0 and variance 1 over batch and space."""
    result = np.empty_like(maps)
    for c in range(maps.shape[1]):
        result[:, c] = (maps[:, c] - maps[:, c].mean()) / np.sqrt(maps[:, c].var() + 1e-5)
    return result


def injected_by_loops(module: GlobalCueInjection, deep: Floats, shallow: Floats) -> Floats:
    """The module in training mode with norms fresh from construction."""
    cues = np.maximum(normalised(convolved(module.deep.weight, deep)), 0)
    features = normalised(convolved(module.shallow.weight, shallow))
    width = features.shape[1]
    for b, c in np.ndindex(len(deep), width):
        gamma, beta = cues[b, c].max(), cues[b, width + c].max()
        features[b, c] = np.maximum(features[b, c] * (1 + gamma) + beta, 0)
    return np.maximum(normalised(convolved(module.out.weight, features)), 0)


def test_recorded_scaling_is_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_adain")
    scaled = adain(recorded["in_features"], recorded["in_attributes"])
    torch.testing.assert_close(scaled, recorded["out_features"], rtol=0, atol=1e-6)


def test_recorded_injection_and_gradients_are_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_gci")
    module = GlobalCueInjection(4, 4, 4)
    with torch.no_grad():
        for name in ("deep", "shallow", "out"):
            module.get_submodule(name).weight.copy_(recorded[f"in_weight_{name}"])  # type: ignore[operator]
    deep, shallow = (recorded[f"in_{name}"].requires_grad_() for name in ("deep", "shallow"))
    features = module(deep, shallow)
    features.square().sum().backward()
    torch.testing.assert_close(features, recorded["out_features"], rtol=0, atol=3e-5)
    for name, value in (("deep", deep), ("shallow", shallow)):
        expected = recorded[f"grad_{name}"]
        torch.testing.assert_close(value.grad, expected, rtol=0, atol=2e-5 * expected.abs().max())


def test_it_matches_plain_loops(device: torch.device) -> None:
    module = build().double()
    deep = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    shallow = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    expected = injected_by_loops(module, deep.numpy(), shallow.numpy())
    result = module.to(device)(deep.to(device), shallow.to(device))
    np.testing.assert_allclose(result.detach().cpu(), expected, atol=1e-12)


def test_attributes_of_zero_change_nothing_and_the_first_half_scales() -> None:
    features = torch.randn(2, 3, 4, 5)
    assert torch.equal(adain(features, torch.zeros(2, 6)), features)
    scaled = adain(features, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 5.0]).expand(2, 6))
    torch.testing.assert_close(scaled[:, :2], 2 * features[:, :2])
    torch.testing.assert_close(scaled[:, 2], 2 * features[:, 2] + 5)


@given(st.integers(0, 2**16))
def test_where_the_cue_is_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    module = build().eval()
    deep = torch.randn(2, 5, 3, 4, generator=generator)
    shallow = torch.randn(2, 3, 4, 4, generator=generator)
    moved = deep.flatten(2)[..., torch.randperm(12, generator=generator)].view_as(deep)
    torch.testing.assert_close(module(moved, shallow), module(deep, shallow))


def test_single_pixels_and_sizes_that_differ() -> None:
    module = build().eval()
    assert module(torch.randn(2, 5, 1, 1), torch.randn(2, 3, 1, 1)).shape == (2, 2, 1, 1)
    assert module(torch.randn(1, 5, 7, 2), torch.randn(1, 3, 4, 9)).shape == (1, 2, 4, 9)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module.train()(torch.randn(1, 5, 1, 1), torch.randn(1, 3, 4, 4))


def test_gradients_are_those_of_finite_differences() -> None:
    module = build().double().eval()
    with torch.no_grad():  # away from the kink of a ReLU of exactly 0
        module.out_norm.bias.fill_(0.1)
    deep = torch.randn(1, 5, 2, 2, dtype=torch.float64, requires_grad=True)
    shallow = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda deep, shallow, *_: module(deep, shallow), (deep, shallow, *module.parameters())
    )
    attributes = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adain, (shallow, attributes))


def test_parameters_state_copies_and_compilation() -> None:
    module = build()
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert shapes == {
        "deep.weight": (6, 5, 1, 1),
        "deep_norm.weight": (6,),
        "deep_norm.bias": (6,),
        "shallow.weight": (3, 3, 1, 1),
        "out.weight": (2, 3, 1, 1),
        "out_norm.weight": (2,),
        "out_norm.bias": (2,),
    }
    inputs = torch.randn(2, 5, 3, 4), torch.randn(2, 3, 4, 4)
    module(*inputs)
    module.eval()
    assert_state_dict_round_trip(module, build, *inputs)
    assert_deepcopy_after_forward(module, *inputs)
    assert_pickles(module, *inputs)
    assert_compiles(module, *inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module(*inputs)
    torch.testing.assert_close(mixed.float(), module(*inputs), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", ["deep_channels", "shallow_channels", "out_channels"])
def test_widths_must_be_positive(name: str) -> None:
    widths = {"deep_channels": 2, "shallow_channels": 2, "out_channels": 2}
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer, got 0"):
        GlobalCueInjection(**{**widths, name: 0})


DEEP, SHALLOW = torch.zeros(2, 5, 3, 3), torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build()(DEEP[:, 1:], SHALLOW), ShapeError, r"deep: expected shape .* with D=5"),
        (lambda: build()(DEEP, SHALLOW[:1]), ShapeError, r"shallow: .* with B=2, D=3, got \(1, 3"),
        (lambda: build()(DEEP.int(), SHALLOW), TypeError, "deep: expected a floating-point"),
        (lambda: build()(DEEP, SHALLOW.int()), TypeError, "shallow: expected a floating-point"),
        (lambda: build()(DEEP[..., :0], SHALLOW), ShapeError, "deep: expected at least one pixel"),
        (lambda: adain(DEEP[0], SHALLOW), ShapeError, r"features: expected shape \(B, D, H, W\)"),
        (
            lambda: adain(DEEP, torch.zeros(2, 5)),
            ShapeError,
            r"attributes: expected shape \(B, 2D\) with B=2, 2D=10, got \(2, 5\)",
        ),
        (lambda: adain(DEEP.int(), torch.zeros(2, 10)), TypeError, "features: expected a floating"),
        (lambda: adain(DEEP, torch.zeros(2, 10).int()), TypeError, "attributes: expected a float"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
