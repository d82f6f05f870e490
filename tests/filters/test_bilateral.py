"""Exact bilateral filter: brute force, symmetry, gradients, and what it does with memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import ShapeError
from fsr.filters import MAX_SCORES, _gaussian_sum, bilateral_filter
from tests.helpers import assert_compiles

WIDTHS = {"sigma_xy": 4.0, "sigma_rgb": 60.0}


def make_case(
    batch: int = 2,
    channels: int = 3,
    size: tuple[int, int] = (5, 7),
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Values and RGB images in 0..255."""
    values = torch.rand(batch, channels, *size, dtype=dtype)
    return values, 255 * torch.rand(batch, 3, *size, dtype=dtype)


def reference(
    values: NDArray[np.float64],
    images: NDArray[np.float64] | None,
    sigma_xy: float,
    sigma_rgb: float | None = None,
) -> NDArray[np.float64]:
    """Sum over all pairs of pixels, one by one."""
    result = np.zeros(values.shape)
    batch, _, height, width = values.shape
    pixels = list(np.ndindex(height, width))
    for b in range(batch):
        for i in pixels:
            for j in pixels:
                squares = ((i[0] - j[0]) ** 2 + (i[1] - j[1]) ** 2) / sigma_xy**2
                if images is not None and sigma_rgb is not None:
                    colours = images[b, :, i[0], i[1]] - images[b, :, j[0], j[1]]
                    squares += np.sum(colours**2) / sigma_rgb**2
                result[b, :, i[0], i[1]] += np.exp(-squares / 2) * values[b, :, j[0], j[1]]
    return result


def brute_force(values: Tensor, images: Tensor, sigma_xy: float, sigma_rgb: float) -> Tensor:
    """The same sum in float64 through the full matrix of distances."""
    height, width = values.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([rows, columns]).flatten(1).T.double() / sigma_xy
    result = []
    for value, image in zip(values.double(), images.double(), strict=True):
        features = torch.cat([place, image.flatten(1).T / sigma_rgb], dim=1)
        kernel = torch.exp(-torch.cdist(features, features).square() / 2)
        result.append((value.flatten(1) @ kernel).unflatten(1, (height, width)))
    return torch.stack(result)


# -- what it computes -----------------------------------------------------------------------------


def test_matches_plain_loops() -> None:
    values, images = make_case()
    expected = reference(values.numpy(), images.numpy(), **WIDTHS)
    np.testing.assert_allclose(bilateral_filter(values, images, **WIDTHS), expected, rtol=1e-10)


def test_spatial_kernel_matches_plain_loops() -> None:
    values, _ = make_case()
    expected = reference(values.numpy(), None, 2.0)
    np.testing.assert_allclose(bilateral_filter(values, sigma_xy=2.0), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sigma", [0.7, 2.0, 9.0])
def test_spatial_kernel_of_a_wide_image_is_put_together_from_its_band(
    sigma: float, dtype: torch.dtype
) -> None:
    values = torch.rand(2, 1, 150, 333, dtype=torch.float64)
    rows, columns = (torch.arange(size, dtype=torch.float64) / sigma for size in (150, 333))
    down, across = (torch.exp(-(x[:, None] - x).square() / 2) for x in (rows, columns))
    expected = down @ values @ across
    tolerance = (
        {"rtol": 1e-12, "atol": 0.0} if dtype == torch.float64 else {"rtol": 2e-6, "atol": 0.0}
    )
    found = bilateral_filter(values.to(dtype), sigma_xy=sigma).double()
    torch.testing.assert_close(found, expected, **tolerance)


def test_a_kernel_of_any_width_is_taken() -> None:
    values = torch.rand(1, 1, 3, 4)
    found = bilateral_filter(values, sigma_xy=1e308)
    torch.testing.assert_close(found, values.sum().expand_as(values))


def test_spatial_kernel_is_that_of_an_image_of_one_colour() -> None:
    values, images = make_case()
    plain = bilateral_filter(values, torch.full_like(images, 99.0), **WIDTHS)
    torch.testing.assert_close(plain, bilateral_filter(values, sigma_xy=WIDTHS["sigma_xy"]))


@pytest.mark.parametrize("channels", [1, 7, 8, 21])
@pytest.mark.parametrize("widths", [(50.0, 15.0), (80.0, 13.0), (3.0, 10.0), (1e4, 1e4)])
def test_float32_is_exact_to_1e_5(
    channels: int, widths: tuple[float, float], device: torch.device
) -> None:
    values, images = make_case(1, channels, (24, 32), torch.float32)
    expected = brute_force(values, images, *widths)
    sigma_xy, sigma_rgb = widths
    actual = bilateral_filter(
        values.to(device), images.to(device), sigma_xy=sigma_xy, sigma_rgb=sigma_rgb
    )
    error = (actual.double().cpu() - expected).norm() / expected.norm()
    assert error < 1e-5
    torch.testing.assert_close(actual.double().cpu(), expected, rtol=1e-4, atol=0)


def test_float64_is_exact_also_for_narrow_kernels() -> None:
    values, images = make_case(1, 2, (12, 9))
    actual = bilateral_filter(values, images, sigma_xy=60.0, sigma_rgb=0.5)
    torch.testing.assert_close(actual, brute_force(values, images, 60.0, 0.5), rtol=1e-9, atol=0)


def test_sum_includes_the_pixel_itself() -> None:
    values, images = make_case(size=(1, 1))
    torch.testing.assert_close(bilateral_filter(values, images, **WIDTHS), values)
    torch.testing.assert_close(bilateral_filter(values, sigma_xy=3.0), values)
    values, images = make_case(size=(4, 5))
    apart = bilateral_filter(values, images, sigma_xy=0.05, sigma_rgb=1.0)
    torch.testing.assert_close(apart, values)


def test_any_number_of_colour_channels() -> None:
    values, images = make_case()
    grey = images[:, :1]
    expected = reference(values.numpy(), grey.numpy(), **WIDTHS)
    np.testing.assert_allclose(bilateral_filter(values, grey, **WIDTHS), expected, rtol=1e-10)


# -- symmetries -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16), height=st.integers(1, 5), width=st.integers(1, 5))
def test_kernel_is_symmetric_and_positive(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 1, height, width)
    left, right = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    images = 255 * torch.rand(1, 3, height, width, dtype=torch.float64, generator=generator)
    forward = (left * bilateral_filter(right, images, **WIDTHS)).sum()
    backward = (right * bilateral_filter(left, images, **WIDTHS)).sum()
    torch.testing.assert_close(forward, backward)
    assert (left * bilateral_filter(left, images, **WIDTHS)).sum() >= 0


@given(seed=st.integers(0, 2**16), shift=st.floats(-1000, 1000))
def test_flips_and_a_common_shift_of_colour_do_not_count(seed: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    values, images = torch.rand(2, 1, 3, 4, 5, dtype=torch.float64, generator=generator)
    expected = bilateral_filter(values, 255 * images, **WIDTHS)
    flipped = bilateral_filter(values.flip(-1), 255 * images.flip(-1) + shift, **WIDTHS)
    torch.testing.assert_close(flipped.flip(-1), expected)


def test_images_and_channels_do_not_influence_each_other() -> None:
    values, images = make_case(batch=3)
    together = bilateral_filter(values, images, **WIDTHS)
    for b in range(3):
        alone = bilateral_filter(values[b : b + 1, 1:2], images[b : b + 1], **WIDTHS)
        torch.testing.assert_close(together[b, 1], alone[0, 0])


@given(seed=st.integers(0, 2**16), magnitude=st.sampled_from([0.0, 1.0, 1e4, 1e30]))
def test_finite_for_finite_values(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = magnitude * torch.randn(1, 2, 4, 6, generator=generator)
    images = 255 * torch.rand(1, 3, 4, 6, generator=generator)
    assert torch.isfinite(bilateral_filter(values, images, sigma_xy=50.0, sigma_rgb=3.0)).all()


# -- gradients ------------------------------------------------------------------------------------


def test_gradients_of_first_and_second_order() -> None:
    values, images = make_case(1, 2, (3, 4))
    values.requires_grad_()

    def cubed(v: Tensor) -> Tensor:
        return bilateral_filter(v, images, **WIDTHS).pow(3)

    assert torch.autograd.gradcheck(cubed, values)
    assert torch.autograd.gradgradcheck(cubed, values)
    assert torch.autograd.gradcheck(lambda v: bilateral_filter(v, sigma_xy=2.0), values)


def test_images_are_constants() -> None:
    values, images = make_case()
    images.requires_grad_()
    bilateral_filter(values.requires_grad_(), images, **WIDTHS).sum().backward()
    assert images.grad is None


# -- types, memory, compilation -------------------------------------------------------------------


def test_half_precision_and_autocast_are_computed_in_float32(device: torch.device) -> None:
    values, images = (t.to(device) for t in make_case(dtype=torch.float32))
    half = values.bfloat16().requires_grad_()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        result = bilateral_filter(half, images, **WIDTHS)
        assert result.dtype == torch.float32
        assert torch.equal(result, bilateral_filter(half.float(), images, **WIDTHS))
        result.sum().backward()
        assert bilateral_filter(values, sigma_xy=2.0).dtype == torch.float32
    assert half.grad.dtype == torch.bfloat16
    ones = torch.ones_like(values)
    expected = bilateral_filter(ones, images, **WIDTHS)
    torch.testing.assert_close(half.grad.float(), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("scores", [1, 36 * 2 * 10, 2**30])
def test_blocks_of_rows_give_the_same_result(monkeypatch: pytest.MonkeyPatch, scores: int) -> None:
    """Where attention is not fused, rows are taken in blocks: one, ten, all of them at once."""
    values, images = make_case()
    expected = bilateral_filter(values, images, **WIDTHS)
    rows = max(1, scores // (2 * 36))
    monkeypatch.setattr(_gaussian_sum, "rows_at_once", lambda query, keys: rows)
    torch.testing.assert_close(bilateral_filter(values, images, **WIDTHS), expected)


def test_rows_at_once_keep_within_memory_where_attention_is_not_fused() -> None:
    fused = torch.empty(2, 50_000, 8)
    assert _gaussian_sum.rows_at_once(fused, 50_001) == 50_000
    unfused = torch.empty(2, 50_000, 8, device="meta")
    rows = _gaussian_sum.rows_at_once(unfused, 50_001)
    assert 1 <= rows < 50_000
    assert 2 * rows * 50_001 <= MAX_SCORES
    assert _gaussian_sum.rows_at_once(unfused, 2 * MAX_SCORES) == 1


def test_compiles_as_one_graph() -> None:
    values, images = make_case(dtype=torch.float32)
    assert_compiles(bilateral_filter, values, images, **WIDTHS)
    assert_compiles(bilateral_filter, values, sigma_xy=3.0)


@pytest.mark.parametrize("sigma_rgb", [3.0, 1.0])
def test_kernel_that_float32_allows_is_right_to_a_percent(sigma_rgb: float) -> None:
    values, images = make_case(1, 1, (8, 9), torch.float32)
    actual = bilateral_filter(values, images, sigma_xy=50.0, sigma_rgb=sigma_rgb)
    expected = brute_force(values, images, 50.0, sigma_rgb)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("widths", [(50.0, 0.2), (50.0, 0.005), (1e-3, 50.0)])
def test_kernel_too_narrow_for_float32_is_refused(widths: tuple[float, float]) -> None:
    sigma_xy, sigma_rgb = widths
    values, images = make_case(1, 1, (8, 9), torch.float32)
    with pytest.raises(ValueError, match=r"off by up to .* in torch.float32 .* float64 values"):
        bilateral_filter(values, images, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)
    exact = bilateral_filter(values.double(), images, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)
    expected = brute_force(values, images, sigma_xy, sigma_rgb)
    torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-6)


# -- errors ---------------------------------------------------------------------------------------

VALUES, IMAGES = torch.zeros(1, 2, 4, 5), torch.zeros(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("values", "images", "widths", "error", "message"),
    [
        (VALUES[0], IMAGES, {}, ShapeError, r"values: expected shape \(B, K, H, W\), got"),
        (VALUES.long(), IMAGES, {}, TypeError, "values: expected a floating-point"),
        (VALUES[:, :0], IMAGES, {}, ShapeError, "values: expected at least one channel"),
        (VALUES, IMAGES[..., 1:], {}, ShapeError, r"images: .* with B=1, H=4, W=5, got"),
        (VALUES, IMAGES.byte(), {}, TypeError, "images: expected a floating-point"),
        (VALUES, IMAGES + float("nan"), {}, ValueError, "images: expected finite values"),
        (VALUES, IMAGES, {"sigma_xy": 0.0}, ValueError, r"sigma_xy: .*\(0.0, inf\), got 0.0"),
        (VALUES, IMAGES, {"sigma_rgb": -1.0}, ValueError, "sigma_rgb: .* got -1.0"),
        (
            VALUES,
            IMAGES,
            {"sigma_rgb": None},
            ValueError,
            "sigma_rgb: expected a width with images",
        ),
        (VALUES, None, {}, ValueError, "sigma_rgb: .* None without, got 60.0"),
    ],
)
def test_bad_input_is_refused(
    values: Tensor,
    images: Tensor | None,
    widths: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        bilateral_filter(values, images, **{**WIDTHS, **widths})
