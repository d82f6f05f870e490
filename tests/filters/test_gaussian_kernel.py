"""The Gaussian sum in tiles, as Triton's interpreter runs it, against explicit float64 matrices."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fsr.filters import bilateral_filter
from tests.filters.test_bilateral import brute_force, make_case
from tests.kernels import compiled_for_a_gpu

# What float32 leaves of exponents of points of the length of those below.
ROUNDED = 1e-4
DEFAULT = {"sigma_xy": 121.0, "sigma_rgb": 5.0}  # of the dense CRF


def summed(values: Tensor, features: Tensor) -> Tensor:
    from fsr.filters._gaussian_kernel import gaussian_sum_in_tiles

    return gaussian_sum_in_tiles(values, features)


def exact(values: Tensor, features: Tensor) -> Tensor:
    """The sums through the full matrix of differences, in float64."""
    apart = features.double()[:, :, None] - features.double()[:, None]
    return (-apart.square().sum(-1) / 2).exp() @ values.double()


@pytest.mark.parametrize(
    ("batch", "count", "channels", "width"),
    [(2, 40, 21, 5), (1, 1, 1, 3), (1, 128, 8, 5), (1, 129, 33, 1), (1, 40, 70, 6)],
)
@pytest.mark.usefixtures("interpreted")
def test_it_is_the_sum(batch: int, count: int, channels: int, width: int) -> None:
    values, features = torch.rand(batch, count, channels), 3 * torch.randn(batch, count, width)
    expected = exact(values, features)
    torch.testing.assert_close(summed(values, features).double(), expected, rtol=ROUNDED, atol=0)


@pytest.mark.parametrize("length", [0.0, 5.0, 40.0])
@pytest.mark.usefixtures("interpreted")
def test_the_length_of_features_costs_little(length: float) -> None:
    features = torch.nn.functional.normalize(torch.randn(1, 60, 5), dim=-1) * length
    features[:, 1::2] = features[:, ::2] + 0.3 * torch.randn(1, 30, 5)
    values = torch.rand(1, 60, 3)
    result = summed(values, features).double()
    torch.testing.assert_close(result, exact(values, features), rtol=1e-3, atol=0)


@pytest.mark.parametrize("magnitude", [0.0, 1e-38, 1e-6, 1e30])
@pytest.mark.usefixtures("interpreted")
def test_values_of_any_magnitude_and_sign(magnitude: float) -> None:
    values, features = magnitude * torch.randn(1, 30, 2), torch.randn(1, 30, 3)
    expected = exact(values, features)
    largest = 30 * magnitude * ROUNDED
    torch.testing.assert_close(summed(values, features).double(), expected, rtol=0, atol=largest)


@pytest.mark.usefixtures("interpreted")
def test_small_values_and_far_points_count_beside_large_and_near_ones() -> None:
    # One channel of 1 and one of 1e-4 in the same tile; the second point weighs 1e-7.
    values = torch.tensor([[[1.0, 1e-4], [1e-7, 0.0]]])
    features = torch.tensor([[[0.0], [math.sqrt(14 * math.log(10.0))]]])
    values[0, 1, 1] = 1e-4
    torch.testing.assert_close(
        summed(values, features).double(), exact(values, features), rtol=ROUNDED, atol=0
    )


@pytest.mark.usefixtures("interpreted")
def test_a_value_that_is_not_finite_spoils_its_channel_alone() -> None:
    values = torch.rand(1, 20, 2)
    values[0, 3, 0] = torch.nan
    result = summed(values, torch.randn(1, 20, 3))
    assert result[..., 0].isnan().all()
    assert result[..., 1].isfinite().all()


@pytest.mark.usefixtures("interpreted")
def test_the_bilateral_filter_uses_it_with_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, summed_by = importlib.import_module("fsr.filters._gaussian_kernel"), []
    plain = kernel.gaussian_sum_in_tiles

    def spy(values: Tensor, features: Tensor) -> Tensor:
        summed_by.append(values.shape[1])
        result: Tensor = plain(values, features)
        return result

    monkeypatch.setattr(kernel, "gaussian_sum_in_tiles", spy)
    values, images = make_case(1, 3, (9, 12), torch.float32)
    values.requires_grad_()
    result = bilateral_filter(values, images, **DEFAULT)
    expected = brute_force(values, images, **DEFAULT)
    torch.testing.assert_close(result.double(), expected, rtol=1e-3, atol=0)
    assert summed_by == [result.numel() // 3]
    weights = torch.rand_like(result)
    (gradient,) = torch.autograd.grad((weights * result).sum(), values)
    expected = brute_force(weights, images, **DEFAULT)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.usefixtures("interpreted")
def test_float64_stays_as_exact_as_it_was() -> None:
    values, images = make_case(1, 2, (5, 6))
    expected = brute_force(values, images, **DEFAULT)
    torch.testing.assert_close(
        bilateral_filter(values, images, **DEFAULT), expected, rtol=1e-9, atol=0
    )


def test_it_compiles_for_a_gpu_and_multiplies_on_tensor_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsr.filters._gaussian_kernel import _sum_tiles

    sizes = {"FEATURES": 5, "COLUMNS": 16, "ROWS": 64, "POINTS": 16, "BITS": 15.0}
    types = {"points": "*fp32", "values": "*fp16", "sums": "*fp32", "length": "i32"}
    assembly = compiled_for_a_gpu(_sum_tiles, tmp_path, monkeypatch, **types, **sizes)
    assert "mma" in assembly


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_is_the_sum_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSR_TRITON", "1")
    values, images = make_case(2, 21, (60, 80), torch.float32)
    result = bilateral_filter(values.cuda(), images.cuda(), **DEFAULT).cpu()
    expected = brute_force(values, images, **DEFAULT)
    torch.testing.assert_close(result.double(), expected, rtol=1e-3, atol=0)
