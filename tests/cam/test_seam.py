"""SEAM's normalised maps: loops, recorded values, constant maps, precision, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.cam import max_norm, seam_normalize, strongest_with_background
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Load = Callable[[str], dict[str, Tensor]]


def close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def random_maps(seed: int = 0, channels: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 3, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_max_norm_is_that_of_the_loops(eps: float, device: torch.device) -> None:
    cam = random_maps()
    found = max_norm(cam.to(device), eps).cpu()
    for b, c in np.ndindex(2, 4):
        values = [max(v, 0.0) for v in cam[b, c].flatten().tolist()]
        low, high = min(values), max(values)
        expected = [max(v - low - eps, 0.0) / (high - low + eps) for v in values]
        assert found[b, c].flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_normalised_maps_are_those_of_the_loops(device: torch.device) -> None:
    cam = random_maps()
    found = seam_normalize(cam.to(device)).cpu()
    for b, y, x in np.ndindex(2, 3, 4):
        scores = []
        for c in (1, 2, 3):
            top = max(0.0, cam[b, c].max().item())
            scores.append(max(max(cam[b, c, y, x].item(), 0.0) - 1e-5, 0.0) / (top + 1e-5))
        best = max(scores)
        expected = [1 - best, *(s if s == best else 0.0 for s in scores)]
        assert found[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-12)


def test_recorded_maps_are_reproduced(parity: Load) -> None:
    recorded = parity("systems/seam_pcm")
    close(seam_normalize(recorded["in_cam"]), recorded["out_normalised"])
    recorded = parity("systems/seam_losses")
    close(max_norm(recorded["in_cam1"]), recorded["out_max_norm1"])


def test_the_background_channel_is_not_read_and_nothing_has_a_gradient() -> None:
    cam = random_maps().requires_grad_()
    found = seam_normalize(cam)
    assert not found.requires_grad
    other = cam.detach().clone()
    other[:, 0] = 7.0
    assert torch.equal(seam_normalize(other), found)


@given(st.integers(0, 1000))
def test_maps_lie_between_0_and_1_and_pixels_stand_alone(seed: int) -> None:
    cam = random_maps(seed)
    normal, competing = max_norm(cam), seam_normalize(cam)
    for maps in (normal, competing):
        assert ((maps >= 0) & (maps <= 1)).all()
    # Of a pixel, background and winner share all there is, and nobody else has any.
    torch.testing.assert_close(competing.sum(1), torch.ones(2, 3, 4, dtype=torch.float64))
    assert ((competing[:, 1:] > 0).sum(1) <= 1).all()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    moved = cam.flatten(2)[..., order].view_as(cam)
    assert torch.equal(max_norm(moved).flatten(2), normal.flatten(2)[..., order])
    assert torch.equal(seam_normalize(moved).flatten(2), competing.flatten(2)[..., order])


def test_classes_that_share_a_maximum_all_keep_it() -> None:
    maps = torch.tensor([[[[0.5, 0.2]], [[0.5, 0.1]], [[0.25, 0.0]]]])
    expected = torch.tensor([[0.5, 0.8], [0.5, 0.2], [0.5, 0.0], [0.0, 0.0]])
    assert torch.equal(strongest_with_background(maps)[0, :, 0], expected)


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_constant_maps(value: float, size: tuple[int, int]) -> None:
    cam = torch.full((1, 2, *size), value)
    assert max_norm(cam).abs().max() == 0
    # Without a class everything is background; one that is everywhere leaves none.
    expected = torch.full(size, 1.0 if value > 0 else 0.0)
    torch.testing.assert_close(seam_normalize(cam)[0, 1], expected)
    torch.testing.assert_close(seam_normalize(cam)[0, 0], 1 - expected)


def test_the_gradient_of_max_norm_is_right_and_finite_at_rest() -> None:
    cam = random_maps(1).requires_grad_()
    assert torch.autograd.gradcheck(max_norm, (cam,))
    flat = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    max_norm(flat).sum().backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_precision() -> None:
    cam = random_maps().float()
    for function in (max_norm, seam_normalize, strongest_with_background):
        half = cam.bfloat16()
        assert function(half).dtype == torch.float32
        assert torch.equal(function(half), function(half.float()))
        assert_compiles(function, cam)


CAM = torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: max_norm(CAM[0]), ShapeError, r"cam: expected shape \(B, C, H, W\)"),
        (lambda: max_norm(CAM[..., :0]), ShapeError, "cam: expected at least one pixel, got"),
        (lambda: max_norm(CAM.int()), TypeError, "cam: expected a floating-point tensor"),
        (lambda: max_norm(CAM, -1.0), ValueError, r"eps: expected a number in \(0.0, inf\)"),
        (lambda: max_norm(CAM, "0"), TypeError, "eps: expected a number"),  # type: ignore[arg-type]
        (lambda: seam_normalize(CAM[0]), ShapeError, r"cam: expected shape \(B, C\+1, H, W\)"),
        (lambda: seam_normalize(CAM[:, :1]), ShapeError, "cam: expected a background and a class"),
        (lambda: seam_normalize(CAM[..., :0]), ShapeError, "cam: expected at least one pixel"),
        (lambda: seam_normalize(CAM.int()), TypeError, "cam: expected a floating-point tensor"),
        (lambda: strongest_with_background(CAM[0]), ShapeError, r"maps: .*\(B, C, H, W\)"),
        (lambda: strongest_with_background(CAM[:, :0]), ShapeError, "maps: .*one class"),
        (lambda: strongest_with_background(CAM.int()), TypeError, "maps: .*floating"),
    ],
)
def test_bad_input_is_refused_by_name(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
