"""Gaussian sums in the arithmetic of GPUs, imitated: what three TF32 products leave of float32.

From compute capability 8.0 on, torch's fused float32 attention (its memory-efficient kernel, from
CUTLASS) splits every number into a big part, cut off to 11 bits, and a small one, rounded to 11
bits, and adds small x big, big x small and big x big; small x small is dropped. A tensor core adds
eight exact products and the sum so far, each cut off at the last place of the largest of them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr.filters import _gaussian_sum, pixel_features
from tests.filters.test_bilateral import brute_force, make_case

Array = NDArray[np.float32]
WIDTHS = [(50.0, 15.0), (80.0, 13.0), (3.0, 10.0), (121.0, 5.0), (50.0, 3.0), (1e4, 1e4)]


def cut(values: Array) -> Array:
    """Numbers cut off to the 11 bits of TF32."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def split(values: Array) -> tuple[Array, Array]:
    """Big and small parts."""
    big = cut(values)
    half = (values - big).view(np.uint32) + np.uint32(0x1000)
    return big, cut(half.view(np.float32))


def cut_to(values: NDArray[np.float64], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers cut off at the last of the 24 bits of the largest."""
    place = np.ldexp(1.0, np.frexp(np.where(largest == 0, 1, largest))[1] - 24)
    return np.asarray(np.trunc(values / place) * place)


def add_products(total: Array, left: Array, right: Array) -> Array:
    """Add eight products to every entry as a tensor core does."""
    products = left.astype(np.float64)[:, None, :] * right.astype(np.float64)[None, :, :]
    terms = np.concatenate([products, total.astype(np.float64)[..., None]], axis=-1)
    exact = cut_to(terms, np.abs(terms).max(axis=-1, keepdims=True)).sum(axis=-1)
    return cut_to(exact, np.abs(exact)).astype(np.float32)


def logits_on_tensor_cores(query: Tensor, key: Tensor) -> Tensor:
    """Products of rows of one image, of a multiple of eight columns."""
    (big_q, small_q), (big_k, small_k) = split(query.numpy()), split(key.numpy())
    total = np.zeros((len(big_q), len(big_k)), np.float32)
    for start in range(0, big_q.shape[1], 8):
        part = slice(start, start + 8)
        total = add_products(total, small_q[:, part], big_k[:, part])
        total = add_products(total, big_q[:, part], small_k[:, part])
        total = add_products(total, big_q[:, part], big_k[:, part])
    return torch.from_numpy(total)


def filtered(values: Tensor, features: Tensor, rows: tuple[Tensor, Tensor]) -> Tensor:
    """The sum whose exponents come from these rows."""
    query, key = (_gaussian_sum._pad(row, _gaussian_sum._up(row.shape[-1])) for row in rows)
    weights = logits_on_tensor_cores(query[0], key[0]).double().exp()
    return (values.double().flatten(2)[0] @ weights.T).view(values.shape)


@pytest.mark.parametrize("widths", WIDTHS)
def test_split_rows_keep_what_plain_rows_lose(widths: tuple[float, float]) -> None:
    values, images = make_case(1, 2, (12, 16), torch.float32)
    features = pixel_features(images, sigma_xy=widths[0], sigma_rgb=widths[1])
    expected = brute_force(values, images, *widths)

    def error(rows: tuple[Tensor, Tensor]) -> float:
        return ((filtered(values, features, rows) / expected - 1).abs().max()).item()

    assert error(_gaussian_sum.split_rows(features)) < 5e-6
    # What the tests on a GPU met: of the last widths, whose features are small, nothing is lost.
    lost = error(_gaussian_sum.plain_rows(features))
    assert lost > 2e-5 if widths != (1e4, 1e4) else lost < 1e-6


@pytest.mark.parametrize("widths", WIDTHS)
def test_split_rows_are_as_good_in_plain_float32(
    widths: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    values, images = make_case(2, 3, (12, 16), torch.float32)
    features = pixel_features(images, sigma_xy=widths[0], sigma_rgb=widths[1])
    rows = values.flatten(2).transpose(1, 2)
    monkeypatch.setattr(_gaussian_sum, "plain_rows", _gaussian_sum.split_rows)
    result = _gaussian_sum.gaussian_sum(rows, features).transpose(1, 2).view(values.shape)
    expected = brute_force(values, images, *widths)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=0)


def test_the_coarse_part_fits_nine_bits_and_nothing_is_lost() -> None:
    features = 13 * torch.randn(2, 50, 5)
    features[1] *= 1e-3
    query, key = _gaussian_sum.split_rows(features)
    coarse, rest = query[..., :5], key[..., 8:13]
    assert torch.equal(coarse + rest, features)
    for image, whole in zip(coarse, features, strict=True):
        step = 2.0 ** (torch.frexp(whole.abs().max()).exponent - 9)
        assert torch.equal((image / step).round(), image / step)
        assert ((image / step).abs() <= 512).all()
    same = torch.einsum("bnd,bnd->bn", query.double(), key.double())
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-4)


def test_features_of_zero_and_of_any_number() -> None:
    for count in (1, 5, 12):
        query, key = _gaussian_sum.split_rows(torch.zeros(1, 4, count))
        assert torch.equal(query @ key.transpose(1, 2), torch.zeros(1, 4, 4))
        features = torch.randn(1, 4, count)
        query, key = _gaussian_sum.split_rows(features)
        expected = -torch.cdist(features, features).square() / 2
        torch.testing.assert_close(query @ key.transpose(1, 2), expected, rtol=1e-4, atol=1e-5)
