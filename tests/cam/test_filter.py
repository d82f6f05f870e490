"""Probabilities filtered by labels: loops, recorded maps, what is empty, precision, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.cam import filter_by_labels
from fsr.errors import ShapeError
from tests.helpers import assert_compiles


def filtered_by_loops(
    probabilities: NDArray[np.float64], labels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The maps of one image, pixel by pixel."""
    channels, height, width = probabilities.shape
    result = np.zeros_like(probabilities)
    for y, x in np.ndindex(height, width):
        shares = [0.0] * channels
        for c in range(channels):
            if labels[c] > 0 and probabilities[c].max() > 0:
                shares[c] = probabilities[c, y, x] / probabilities[c].max()
        if sum(shares) > 0:
            result[:, y, x] = [share / sum(shares) for share in shares]
    return result


def make_case(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    return logits.softmax(1), torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])


def test_it_matches_plain_loops(device: torch.device) -> None:
    probabilities, labels = make_case()
    filtered = filter_by_labels(probabilities.to(device), labels.to(device)).cpu()
    for b in range(2):
        expected = filtered_by_loops(probabilities[b].numpy(), labels[b].numpy())
        np.testing.assert_allclose(filtered[b], expected, rtol=1e-12)


def test_recorded_maps_are_reproduced(parity: Callable[[str], dict[str, Tensor]]) -> None:
    recorded = parity("systems/vit_pcm_head")
    filtered = filter_by_labels(recorded["out_probabilities"], recorded["in_labels"])
    torch.testing.assert_close(filtered, recorded["out_merged"], rtol=0, atol=1e-6)


@given(st.integers(0, 1000), st.floats(0.01, 100.0))
def test_a_pixel_sums_to_one_and_the_scale_of_a_class_does_not_matter(
    seed: int, scale: float
) -> None:
    probabilities, labels = make_case(seed)
    filtered = filter_by_labels(probabilities, labels)
    torch.testing.assert_close(filtered.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert not filtered[labels == 0].any()
    scaled = probabilities * torch.tensor([1.0, scale, 1.0, 1.0]).view(1, 4, 1, 1)
    torch.testing.assert_close(filter_by_labels(scaled, labels), filtered)


def test_nothing_present_and_empty_maps_give_zero() -> None:
    probabilities, _ = make_case()
    assert not filter_by_labels(probabilities, torch.zeros(2, 4)).any()
    assert not filter_by_labels(torch.zeros(1, 2, 3, 3), torch.ones(1, 2)).any()
    empty = torch.zeros(1, 2, 1, 2)
    empty[0, 0, 0, 0] = 0.4
    assert filter_by_labels(empty, torch.ones(1, 2))[0].tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]


def test_constant_maps_and_single_pixels_share_equally() -> None:
    maps = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1)
    for size in ((1, 1), (2, 3)):
        filtered = filter_by_labels(maps.expand(1, 3, *size), torch.tensor([[1, 1, 0]]))
        assert filtered[0].amax(dim=(1, 2)).tolist() == [0.5, 0.5, 0.0]
        assert filtered[0].amin(dim=(1, 2)).tolist() == [0.5, 0.5, 0.0]


def test_gradient_is_that_of_finite_differences_and_never_nan() -> None:
    probabilities, labels = make_case()
    inputs = probabilities[:, :, :2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: filter_by_labels(p, labels), inputs)
    empty = torch.zeros(1, 2, 3, 3, requires_grad=True)
    filter_by_labels(empty, torch.ones(1, 2)).sum().backward()
    assert torch.isfinite(empty.grad).all()


def test_precision() -> None:
    probabilities, labels = make_case()
    assert filter_by_labels(probabilities, labels).dtype == torch.float64
    probabilities = probabilities.float()
    for dtype in (torch.float16, torch.bfloat16):
        half = probabilities.to(dtype)
        filtered = filter_by_labels(half, labels)
        assert filtered.dtype == torch.float32
        assert torch.equal(filtered, filter_by_labels(half.float(), labels))
    expected = filter_by_labels(probabilities, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(filter_by_labels(probabilities, labels.bool()), expected)
    assert_compiles(filter_by_labels, probabilities, labels)


MAPS, LABELS = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2)


@pytest.mark.parametrize(
    ("maps", "labels", "error", "message"),
    [
        (MAPS[0], LABELS, ShapeError, r"probabilities: expected shape \(B, K, h, w\), got"),
        (MAPS, torch.zeros(1, 3), ShapeError, r"labels: .* with B=1, K=2, got \(1, 3\)"),
        (MAPS.int(), LABELS, TypeError, "probabilities: expected a floating-point tensor"),
        (MAPS[:, :, :0], LABELS, ShapeError, "probabilities: expected at least one pixel"),
        (MAPS[:, :0], LABELS[:, :0], ShapeError, "probabilities: expected at least one channel"),
    ],
)
def test_bad_input_is_refused(
    maps: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        filter_by_labels(maps, labels)
