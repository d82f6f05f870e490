"""SEAM's pixel correlation: loops, recorded values, gradients, featureless pixels, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.cam import seam_normalize
from fsr.errors import ShapeError
from fsr.refine import PixelCorrelation, pixel_correlation
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)


def inputs(seed: int = 0, size: tuple[int, int] = (3, 2)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64)
    return maps, torch.randn(2, 4, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [(3, 2), (1, 1)])
def test_it_is_that_of_the_loops(size: tuple[int, int], device: torch.device) -> None:
    maps, features = inputs(size=size)
    found = pixel_correlation(maps.to(device), features.to(device)).cpu().flatten(2)
    m, f = maps.flatten(2).numpy(), features.flatten(2).numpy()
    count = m.shape[-1]
    for b in range(2):
        unit = [v / (np.sqrt(sum(v * v)) + 1e-5) for v in f[b].T]
        for j in range(count):
            alike = [max(0.0, float(unit[i] @ unit[j])) for i in range(count)]
            for c in range(3):
                expected = sum(m[b, c, i] * alike[i] for i in range(count)) / (sum(alike) + 1e-5)
                assert found[b, c, j].item() == pytest.approx(expected, rel=1e-10)


def close(found: Tensor | None, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_recorded_maps_and_gradients_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/seam_pcm")
    features = recorded["in_features"].clone().requires_grad_()
    module = PixelCorrelation(features.shape[1], recorded["in_weight"].shape[0])
    module.load_state_dict({"weight": recorded["in_weight"]})
    revised = module(seam_normalize(recorded["in_cam"]), features)
    close(revised, recorded["out_revised"])
    revised.square().sum().backward()
    close(features.grad, recorded["grad_features"])
    close(module.weight.grad, recorded["grad_weight"])


def test_the_module_projects_and_then_spreads() -> None:
    maps, features = inputs()
    module = PixelCorrelation(4, 5).double()
    projected = F.conv2d(features, module.weight)
    torch.testing.assert_close(module(maps, features), pixel_correlation(maps, projected))
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert repr(module) == "PixelCorrelation(in_channels=4, out_channels=5)"
    # The scale of the weight is normalised away.
    with torch.no_grad():
        module.weight.mul_(1e3)
    scaled = module(maps, features)
    torch.testing.assert_close(scaled, pixel_correlation(maps, projected), rtol=1e-4, atol=0)


def test_maps_of_another_size_are_brought_to_the_features() -> None:
    maps, features = inputs(size=(4, 5))
    grown = F.interpolate(maps, (7, 9), mode="bilinear", align_corners=True)
    large = F.interpolate(features, (7, 9), mode="nearest")
    found = pixel_correlation(maps, large)
    torch.testing.assert_close(found, pixel_correlation(grown, large))


@given(st.integers(0, 1000))
def test_pixels_have_no_order_and_a_constant_map_stays_within_its_value(seed: int) -> None:
    maps, features = inputs(seed)
    found = pixel_correlation(maps, features)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    moved = [v.flatten(2)[..., order].unflatten(2, (3, 2)) for v in (maps, features)]
    torch.testing.assert_close(
        pixel_correlation(moved[0], moved[1]).flatten(2), found.flatten(2)[..., order]
    )
    # Each pixel has a mean of others: nothing is above the largest or below the least, but eps.
    flat = maps.flatten(2)
    assert (found.flatten(2) <= flat.amax(2, keepdim=True)).all()
    assert (found.flatten(2) >= flat.amin(2, keepdim=True) * (1 - 1e-4)).all()


def test_a_pixel_without_features_gets_and_gives_nothing() -> None:
    maps, features = inputs()
    features[0, :, 1, 1] = 0
    features.requires_grad_()
    found = pixel_correlation(maps, features)
    assert found[0, :, 1, 1].abs().max() == 0
    changed = maps.clone()
    changed[0, :, 1, 1] = 9.0
    assert torch.equal(pixel_correlation(changed, features), found)
    (gradient,) = torch.autograd.grad(found.sum(), features)
    assert torch.isfinite(gradient).all()


def test_the_gradient_is_right() -> None:
    maps, features = inputs(3)
    assert torch.autograd.gradcheck(
        pixel_correlation, (maps.requires_grad_(), features.requires_grad_())
    )


def test_precision_and_the_habits_of_a_module() -> None:
    maps, features = (value.float() for value in inputs())
    module = PixelCorrelation(4, 5)
    expected = module(maps, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(maps, features), expected)
    half = maps.bfloat16(), features.bfloat16()
    assert torch.equal(
        pixel_correlation(*half), pixel_correlation(half[0].float(), half[1].float())
    )
    assert module(*half).dtype == torch.float32
    # A module in half precision computes in float32 with its rounded weight.
    rounded = copy.deepcopy(module).bfloat16()
    assert torch.equal(rounded(*half), copy.deepcopy(rounded).float()(*half))
    assert_compiles(module, maps, features)
    assert_state_dict_round_trip(module, lambda: PixelCorrelation(4, 5), maps, features)
    assert_deepcopy_after_forward(module, maps, features)
    assert_pickles(module, maps, features)


MAPS, FEATURES = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pixel_correlation(MAPS[0], FEATURES), ShapeError, r"maps: .*\(B, C, h, w\)"),
        (lambda: pixel_correlation(MAPS[:1], FEATURES), ShapeError, "maps: .*B=2"),
        (lambda: pixel_correlation(MAPS, FEATURES[0]), ShapeError, r"features: .*\(B, K, H, W\)"),
        (lambda: pixel_correlation(MAPS[..., :0], FEATURES), ShapeError, "maps: .*one pixel"),
        (lambda: pixel_correlation(MAPS, FEATURES[..., :0]), ShapeError, "features: .*one pixel"),
        (lambda: pixel_correlation(MAPS.int(), FEATURES), TypeError, "maps: .*floating"),
        (lambda: pixel_correlation(MAPS, FEATURES.int()), TypeError, "features: .*floating"),
        (lambda: PixelCorrelation(5, 4)(MAPS, FEATURES), ShapeError, "features: .*D=5"),
        (lambda: PixelCorrelation(6, 4)(MAPS, FEATURES.int()), TypeError, "features: .*floating"),
        (lambda: PixelCorrelation(0, 4), ValueError, "in_channels: expected a positive integer"),
        (lambda: PixelCorrelation(4, 1.5), TypeError, "out_channels: .*got 1.5"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_by_name(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
