"""PAR against plain loops, recorded arrays and its own promises."""

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

from fsr.refine import PAR, pixel_adaptive_affinity, propagate
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Floats = NDArray[np.float64]


def affinity_at(
    image: Floats, y: int, x: int, dilations: Sequence[int]
) -> dict[tuple[int, int], float]:
    """Weight of each neighbour offset of one pixel of an image (K, H, W)."""
    offsets = [
        (dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
    ]
    channels = image.shape[0]
    colour, position = {}, {}
    distances = [np.hypot(dy, dx) for dy, dx in offsets]
    for dy, dx in offsets:
        terms = []
        for k in range(channels):
            around = [at(image[k], y + oy, x + ox) for oy, ox in offsets]
            sigma = np.std(around, ddof=1) + 1e-8
            terms.append(((at(image[k], y + dy, x + dx) - image[k, y, x]) / sigma / 0.3) ** 2)
        colour[dy, dx] = -np.mean(terms)
        position[dy, dx] = -((np.hypot(dy, dx) / (np.std(distances, ddof=1) + 1e-8) / 0.3) ** 2)
    colour_weight, position_weight = softmax(colour), softmax(position)
    return {o: colour_weight[o] + 0.01 * position_weight[o] for o in offsets}


def at(channel: Floats, y: int, x: int) -> float:
    """Value at a place that may lie past the border, where the border is repeated."""
    height, width = channel.shape
    return float(channel[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])


def softmax(logits: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    top = max(logits.values())
    total = sum(np.exp(value - top) for value in logits.values())
    return {key: float(np.exp(value - top) / total) for key, value in logits.items()}


def refine_by_loops(
    image: Floats, masks: Floats, dilations: Sequence[int], num_iter: int
) -> Floats:
    """Refinement of masks (C, H, W) at image size, pixel by pixel."""
    for _ in range(num_iter):
        moved = np.zeros_like(masks)
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                for (dy, dx), weight in affinity_at(image, y, x, dilations).items():
                    for c in range(masks.shape[0]):
                        moved[c, y, x] += weight * at(masks[c], y + dy, x + dx)
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
    refined = PAR(num_iter=2, dilations=dilations)(images, masks)
    np.testing.assert_allclose(refined[0], expected, rtol=1e-10)


def test_recorded_refinement_is_reproduced(
    parity: Callable[[str], dict[str, torch.Tensor]],
) -> None:
    recorded = parity("par")
    par = PAR(int(recorded["num_iter"]), recorded["dilations"].tolist())
    refined = par(recorded["images"], recorded["masks"])
    torch.testing.assert_close(refined, recorded["refined"], rtol=0, atol=1e-5)


def test_defaults_are_those_of_the_recorded_case() -> None:
    assert repr(PAR()) == "PAR(num_iter=10, dilations=(1, 2, 4, 8, 12, 24))"


def test_smaller_masks_are_upsampled_with_aligned_corners_first() -> None:
    images, _ = random_case(0, 8, 10)
    masks = torch.rand(1, 2, 4, 5, dtype=torch.float64)
    grown = F.interpolate(masks, (8, 10), mode="bilinear", align_corners=True)
    par = PAR(2, (1, 2))
    assert torch.equal(par(images, masks), par(images, grown))


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 7))
def test_flipping_the_input_flips_the_result(seed: int, height: int, width: int) -> None:
    images, masks = random_case(seed, height, width)
    par = PAR(2, (1, 3))
    for axis in (2, 3):
        flipped = par(images.flip(axis), masks.flip(axis)).flip(axis)
        torch.testing.assert_close(flipped, par(images, masks))


@given(st.integers(0, 1000))
def test_one_images_result_does_not_depend_on_its_batch(seed: int) -> None:
    images, masks = random_case(seed, batch=3)
    par = PAR(2, (1, 2))
    together = par(images, masks)
    for i in range(3):
        torch.testing.assert_close(par(images[i : i + 1], masks[i : i + 1])[0], together[i])


@given(st.integers(0, 1000))
def test_permuting_channels_permutes_the_result(seed: int) -> None:
    images, masks = random_case(seed)
    par = PAR(2, (1, 2))
    assert torch.equal(par(images, masks.flip(1)), par(images, masks).flip(1))


@given(st.integers(0, 1000), st.floats(0.1, 300.0), st.floats(-50.0, 50.0))
def test_brightness_and_contrast_do_not_matter(seed: int, gain: float, offset: float) -> None:
    images, masks = random_case(seed)
    par = PAR(2, (1, 2))
    torch.testing.assert_close(
        par(images * gain + offset, masks), par(images, masks), rtol=1e-5, atol=1e-6
    )


def test_it_is_linear_in_the_masks() -> None:
    images, masks = random_case(0)
    other = torch.randn_like(masks)
    par = PAR(2, (1, 2))
    both = par(images, 2 * masks - 3 * other)
    torch.testing.assert_close(both, 2 * par(images, masks) - 3 * par(images, other))


def test_weights_sum_to_1_01_so_constant_masks_grow_by_it_each_iteration() -> None:
    images, masks = random_case(0)
    affinity = pixel_adaptive_affinity(images, (1, 2))
    torch.testing.assert_close(affinity.sum(1), torch.full((1, 5, 6), 1.01, dtype=torch.float64))
    grown = PAR(3, (1, 2))(images, torch.ones_like(masks))
    torch.testing.assert_close(grown, torch.full_like(masks, 1.01**3))


def test_scores_stop_at_an_edge_of_the_image() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1.0
    masks = torch.zeros(1, 1, 8, 8)
    masks[..., 0, 0] = 1.0
    refined = PAR(10, (1, 2))(images, masks)
    left, right = refined[..., :4].sum(), refined[..., 4:].sum()
    assert left > 0.1
    assert right < 0.05 * left
    assert refined[0, 0, 7, 3] > 10 * refined[0, 0, 7, 4]


def test_a_constant_image_and_one_pixel_are_no_trouble() -> None:
    refined = PAR()(torch.full((1, 3, 6, 6), 0.3), torch.rand(1, 2, 6, 6))
    assert bool(torch.isfinite(refined).all())
    one = PAR()(torch.rand(1, 3, 1, 1), torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(one, torch.full((1, 1, 1, 1), 1.01**10))


def test_dilations_beyond_the_image_see_its_border() -> None:
    images, masks = random_case(0, 3, 4)
    expected = refine_by_loops(images[0].numpy(), masks[0].numpy(), (24,), num_iter=1)
    np.testing.assert_allclose(PAR(1, (24,))(images, masks)[0], expected, rtol=1e-10)


def test_any_number_of_image_and_mask_channels() -> None:
    for channels in (1, 4):
        refined = PAR(1, (1,))(torch.rand(2, channels, 5, 6), torch.rand(2, 7, 5, 6))
        assert refined.shape == (2, 7, 5, 6)


def test_gradients_reach_the_masks_and_not_the_images() -> None:
    images, _ = random_case(0, 4, 5)
    small = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    par = PAR(2, (1, 2))
    assert torch.autograd.gradcheck(lambda m: par(images, m), (small,))
    images.requires_grad_()
    par(images, small).sum().backward()
    assert images.grad is None


def test_the_masks_given_stay_as_they_are() -> None:
    images, masks = random_case(0)
    before = masks.clone()
    PAR(2, (1,))(images, masks)
    assert torch.equal(masks, before)


def test_float64_stays_and_half_precision_is_computed_in_float32() -> None:
    images, masks = random_case(0, 16, 16)
    par = PAR()
    exact = par(images, masks)
    assert exact.dtype == torch.float64
    for dtype in (torch.bfloat16, torch.float16):
        half = par(images.to(dtype), masks.to(dtype))
        assert half.dtype == torch.float32
        rounded = par(images.to(dtype).double(), masks.to(dtype).double())
        torch.testing.assert_close(half, rounded.float(), rtol=1e-4, atol=1e-5)


def test_autocast_changes_nothing() -> None:
    images, masks = (value.float() for value in random_case(0, 16, 16))
    par = PAR()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = par(images, masks)
    assert torch.equal(inside, par(images, masks))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_it_compiles(backend: str) -> None:
    images, masks = (value.float() for value in random_case(0))
    par = PAR(2, (1,)) if backend == "inductor" else PAR(2, (1, 2))
    assert_compiles(par, images, masks[..., ::2, ::2], backend=backend)


def test_state_dict_is_empty_and_copies_work() -> None:
    images, masks = random_case(0)
    par = PAR(2, (1, 2))
    assert not par.state_dict()
    assert not list(par.parameters())
    assert_state_dict_round_trip(par, lambda: PAR(2, (1, 2)), images, masks)
    assert_deepcopy_after_forward(par, images, masks)
    assert_pickles(par, images, masks)


def test_it_follows_its_inputs_device(device: torch.device) -> None:
    images, masks = random_case(0)
    refined = PAR(2, (1, 2))(images.to(device), masks.to(device))
    assert refined.device.type == device.type
    torch.testing.assert_close(refined.cpu(), PAR(2, (1, 2))(images, masks))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i, m: PAR(num_iter=0), ValueError, "num_iter: expected a positive integer, got 0"),
        (lambda i, m: PAR(num_iter=1.5), TypeError, "num_iter: expected a positive integer"),
        (lambda i, m: PAR(dilations=()), ValueError, "dilations: expected at least one distance"),
        (lambda i, m: PAR(dilations=(1, 0)), ValueError, r"dilations\[1\]: .* got 0"),
        (lambda i, m: PAR(dilations=(1.5,)), TypeError, r"dilations\[0\]: .* got 1.5"),
        (lambda i, m: PAR()(i[0], m), ValueError, r"images: expected shape \(B, K, H, W\)"),
        (lambda i, m: PAR()(i, m[0]), ValueError, r"masks: expected shape \(B, C, h, w\) with B=1"),
        (lambda i, m: PAR()(i.long(), m), TypeError, "images: expected a floating-point tensor"),
        (lambda i, m: PAR()(i, m.long()), TypeError, "masks: expected a floating-point tensor"),
        (lambda i, m: PAR()(i * torch.nan, m), ValueError, "images: expected finite values"),
        (lambda i, m: PAR()(i, m / 0), ValueError, "masks: expected finite values"),
        (lambda i, m: PAR()(i, m[:, :0]), ValueError, "masks: expected at least one class"),
        (lambda i, m: PAR()(i, None), TypeError, "masks: expected a tensor"),
        (
            lambda i, m: pixel_adaptive_affinity(i[0], (1,)),
            ValueError,
            r"images: expected shape \(B, K, H, W\)",
        ),
        (lambda i, m: pixel_adaptive_affinity(i.int(), (1,)), TypeError, "images: expected a flo"),
        (lambda i, m: pixel_adaptive_affinity(i, ()), ValueError, "dilations: expected at least"),
        (
            lambda i, m: propagate(m, torch.zeros(1, 8, 5, 6), (1, 2)),
            ValueError,
            r"affinity: expected shape \(B, N, H, W\) with B=1, N=16, H=5, W=6, got",
        ),
        (lambda i, m: propagate(m[0], m, (1,)), ValueError, "masks: expected shape"),
        (lambda i, m: propagate(m, m, (-1,)), ValueError, r"dilations\[0\]: .* got -1"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[Tensor, Tensor], object], error: type[Exception], message: str
) -> None:
    images, masks = random_case(0)
    with pytest.raises(error, match=message):
        call(images, masks)
