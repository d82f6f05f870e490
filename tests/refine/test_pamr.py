"""PAMR against plain loops, recorded arrays and its own promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fsr.refine import PAMR, pamr_affinity, propagate
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Floats = NDArray[np.float64]
Offset = tuple[int, int]
RING = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def at(channel: Floats, y: int, x: int) -> float:
    """Value at a place that may lie past the border, where the border is repeated."""
    height, width = channel.shape
    return float(channel[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])


def affinity_at(image: Floats, y: int, x: int, dilations: Sequence[int]) -> dict[Offset, float]:
    """Weight of each neighbour offset of one pixel of an image (K, H, W)."""
    offsets = [(dy * d, dx * d) for d in dilations for dy, dx in RING]
    distance = dict.fromkeys(offsets, 0.0)
    for channel in image:
        values = [at(channel, y + dy, x + dx) for dy, dx in offsets]
        sigma = np.std(values + [channel[y, x]] * len(dilations), ddof=1)
        for offset, value in zip(offsets, values, strict=True):
            distance[offset] += abs(channel[y, x] - value) / (1e-8 + 0.1 * sigma) / len(image)
    weights = {offset: np.exp(-value) for offset, value in distance.items()}
    return {offset: float(weight / sum(weights.values())) for offset, weight in weights.items()}


def refine_by_loops(
    image: Floats, masks: Floats, dilations: Sequence[int], num_iter: int
) -> Floats:
    """Refinement of masks (C, H, W) at image size, pixel by pixel."""
    for _ in range(num_iter):
        moved = np.zeros_like(masks)
        for y, x in np.ndindex(*image.shape[1:]):
            for (dy, dx), weight in affinity_at(image, y, x, dilations).items():
                for c, mask in enumerate(masks):
                    moved[c, y, x] += weight * at(mask, y + dy, x + dx)
        masks = moved
    return masks


def random_case(
    seed: int, height: int = 5, width: int = 6, batch: int = 1
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)
    masks = torch.rand(batch, 2, height, width, generator=generator, dtype=torch.float64)
    return images, masks


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (2, 9)])
def test_it_matches_plain_loops(dilations: tuple[int, ...]) -> None:
    images, masks = random_case(0)
    expected = refine_by_loops(images[0].numpy(), masks[0].numpy(), dilations, num_iter=2)
    refined = PAMR(num_iter=2, dilations=dilations)(images, masks)
    np.testing.assert_allclose(refined[0], expected, rtol=1e-10)


def test_recorded_refinement_is_reproduced(parity: Callable[[str], dict[str, Tensor]]) -> None:
    recorded = parity("systems/one_stage_pamr")
    pamr = PAMR(int(recorded["arg_iterations"]), recorded["arg_dilations"].tolist())
    refined = pamr(recorded["in_images"], recorded["in_masks"])
    torch.testing.assert_close(refined, recorded["out_masks"], rtol=0, atol=2e-6)


def test_defaults_are_those_of_the_recorded_case() -> None:
    assert repr(PAMR()) == "PAMR(num_iter=10, dilations=(1, 2, 4, 8, 12, 24))"


def test_smaller_masks_are_upsampled_with_aligned_corners_first() -> None:
    images, _ = random_case(0, 8, 10)
    masks = torch.rand(1, 2, 4, 5, dtype=torch.float64)
    grown = F.interpolate(masks, (8, 10), mode="bilinear", align_corners=True)
    pamr = PAMR(2, (1, 2))
    assert torch.equal(pamr(images, masks), pamr(images, grown))


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 7))
def test_flipping_the_input_flips_the_result(seed: int, height: int, width: int) -> None:
    images, masks = random_case(seed, height, width)
    pamr = PAMR(2, (1, 3))
    for axis in (2, 3):
        flipped = pamr(images.flip(axis), masks.flip(axis)).flip(axis)
        torch.testing.assert_close(flipped, pamr(images, masks))


@given(st.integers(0, 1000))
def test_masks_stay_in_their_range_and_probabilities_sum_to_one(seed: int) -> None:
    images, _ = random_case(seed, batch=2)
    masks = torch.randn(2, 3, 5, 6, dtype=torch.float64).softmax(1)
    refined = PAMR(3, (1, 2))(images, masks)
    torch.testing.assert_close(refined.sum(1), torch.ones(2, 5, 6, dtype=torch.float64))
    for mask, result in zip(masks.flatten(0, 1), refined.flatten(0, 1), strict=True):
        assert result.min() >= mask.min() - 1e-12
        assert result.max() <= mask.max() + 1e-12


@given(st.integers(0, 1000), st.floats(0.1, 300.0), st.floats(-50.0, 50.0))
def test_brightness_and_contrast_do_not_matter(seed: int, gain: float, offset: float) -> None:
    images, masks = random_case(seed)
    pamr = PAMR(2, (1, 2))
    torch.testing.assert_close(
        pamr(images * gain + offset, masks), pamr(images, masks), rtol=1e-5, atol=1e-6
    )


def test_a_constant_image_averages_the_neighbours() -> None:
    masks = torch.arange(9.0).view(1, 1, 3, 3)
    refined = PAMR(1, (1,))(torch.full((1, 3, 3, 3), 0.3), masks)
    # The neighbours of the middle are 0..8 without 4: their mean is 4 again.
    torch.testing.assert_close(refined[0, 0, 1, 1], torch.tensor(4.0))
    # The corner sees 0 0 1, 0 1 and 3 3 4 past its border.
    torch.testing.assert_close(refined[0, 0, 0, 0], torch.tensor(12 / 8))


def test_one_pixel_and_several_channels_are_no_trouble() -> None:
    masks = torch.rand(2, 3, 1, 1)
    torch.testing.assert_close(PAMR()(torch.rand(2, 1, 1, 1), masks), masks)
    assert PAMR(1, (1,))(torch.rand(2, 4, 5, 6), torch.rand(2, 7, 5, 6)).shape == (2, 7, 5, 6)


def test_gradients_reach_the_masks_and_not_the_images() -> None:
    images, _ = random_case(0, 4, 5)
    small = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    pamr = PAMR(2, (1, 2))
    assert torch.autograd.gradcheck(lambda m: pamr(images, m), (small,))
    images.requires_grad_()
    pamr(images, small).sum().backward()
    assert images.grad is None


def test_precision() -> None:
    images, masks = random_case(0, 16, 16)
    pamr = PAMR()
    assert pamr(images, masks).dtype == torch.float64
    for dtype in (torch.bfloat16, torch.float16):
        half = pamr(images.to(dtype), masks.to(dtype))
        assert half.dtype == torch.float32
        rounded = pamr(images.to(dtype).double(), masks.to(dtype).double())
        torch.testing.assert_close(half, rounded.float(), rtol=1e-4, atol=1e-5)
    images, masks = images.float(), masks.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pamr(images, masks)
    assert torch.equal(inside, pamr(images, masks))


def test_state_copies_device_and_compilation(device: torch.device) -> None:
    images, masks = random_case(0)
    pamr = PAMR(2, (1, 2))
    assert not pamr.state_dict()
    assert_state_dict_round_trip(pamr, lambda: PAMR(2, (1, 2)), images, masks)
    assert_deepcopy_after_forward(pamr, images, masks)
    assert_pickles(pamr, images, masks)
    assert_compiles(pamr, images.float(), masks.float()[..., ::2, ::2])
    refined = pamr(images.to(device), masks.to(device))
    assert refined.device.type == device.type
    torch.testing.assert_close(refined.cpu(), pamr(images, masks))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i, m: PAMR(num_iter=0), ValueError, "num_iter: expected a positive integer, got 0"),
        (lambda i, m: PAMR(num_iter=1.5), TypeError, "num_iter: expected a positive integer"),
        (lambda i, m: PAMR(dilations=()), ValueError, "dilations: expected at least one distance"),
        (lambda i, m: PAMR(dilations=(1, 0)), ValueError, r"dilations\[1\]: .* got 0"),
        (lambda i, m: PAMR()(i[0], m), ValueError, r"images: expected shape \(B, K, H, W\)"),
        (lambda i, m: PAMR()(i, m[0]), ValueError, r"masks: expected shape \(B, C, h, w\) with B"),
        (lambda i, m: PAMR()(i.long(), m), TypeError, "images: expected a floating-point tensor"),
        (lambda i, m: PAMR()(i, m.long()), TypeError, "masks: expected a floating-point tensor"),
        (lambda i, m: PAMR()(i * torch.nan, m), ValueError, "images: expected finite values"),
        (lambda i, m: PAMR()(i, m / 0), ValueError, "masks: expected finite values"),
        (lambda i, m: PAMR()(i, m[:, :0]), ValueError, "masks: expected at least one class"),
        (lambda i, m: PAMR()(i, None), TypeError, "masks: expected a tensor"),
        (lambda i, m: pamr_affinity(i[0], (1,)), ValueError, r"images: expected shape"),
        (lambda i, m: pamr_affinity(i.int(), (1,)), TypeError, "images: expected a floating"),
        (lambda i, m: pamr_affinity(i, ()), ValueError, "dilations: expected at least"),
        (
            lambda i, m: propagate(m, pamr_affinity(i, (1,)), (1, 2)),
            ValueError,
            r"affinity: expected shape \(B, N, H, W\) with B=1, N=16, H=5, W=6, got",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[Tensor, Tensor], object], error: type[Exception], message: str
) -> None:
    images, masks = random_case(0)
    with pytest.raises(error, match=message):
        call(images, masks)
