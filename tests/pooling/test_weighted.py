"""nGWP and its focal term: loops, recorded values, empty and full masks, precision, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.pooling import (
    focal_mask_penalty,
    masks_with_background,
    normalized_global_weighted_pooling,
)
from tests.helpers import assert_compiles

Floats = NDArray[np.float64]


def masks_by_loops(logits: Floats) -> Floats:
    """Softmax of a background of 1 and the classes, pixel by pixel."""
    classes, height, width = logits.shape
    masks = np.zeros((classes + 1, height, width))
    for y, x in np.ndindex(height, width):
        weights = [math.exp(1.0)] + [math.exp(logits[c, y, x]) for c in range(classes)]
        for c, weight in enumerate(weights):
            masks[c, y, x] = weight / sum(weights)
    return masks


def scores_by_loops(logits: Floats, power: float, offset: float) -> tuple[list[float], list[float]]:
    """The pooled scores and the focal terms of every foreground class of one image."""
    masks = masks_by_loops(logits)
    pixels = list(np.ndindex(*logits.shape[1:]))
    scores, focal = [], []
    for c in range(logits.shape[0]):
        weighted = sum(masks[c + 1][p] * logits[c][p] for p in pixels)
        size = sum(masks[c + 1][p] for p in pixels)
        mean = size / len(pixels)
        scores.append(weighted / (1 + size))
        focal.append((1 - mean) ** power * math.log(offset + mean))
    return scores, focal


@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_they_match_plain_loops(size: tuple[int, int], device: torch.device) -> None:
    logits = 3 * torch.randn(2, 3, *size, dtype=torch.float64)
    on_device = logits.to(device)
    scores = normalized_global_weighted_pooling(on_device).cpu()
    masks = masks_with_background(on_device)
    focal = focal_mask_penalty(masks[:, 1:], power=2.5, offset=0.1).cpu()
    for b in range(2):
        expected = scores_by_loops(logits[b].numpy(), power=2.5, offset=0.1)
        np.testing.assert_allclose(masks[b].cpu(), masks_by_loops(logits[b].numpy()), rtol=1e-12)
        np.testing.assert_allclose(scores[b], expected[0], rtol=1e-12)
        np.testing.assert_allclose(focal[b], expected[1], rtol=1e-12)


def test_recorded_class_scores_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/one_stage_head")
    logits = recorded["in_logits"]
    masks = masks_with_background(logits)[:, 1:]
    penalty = focal_mask_penalty(
        masks, int(recorded["arg_focal_power"]), float(recorded["arg_focal_offset"])
    )
    scores = normalized_global_weighted_pooling(logits) + penalty
    torch.testing.assert_close(scores, recorded["out_class_logits"], rtol=0, atol=1e-5)
    assert torch.equal(penalty, focal_mask_penalty(masks))


@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0, 100.0, 1e30]))
def test_masks_sum_to_one_and_scores_lie_within_the_logits(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(2, 3, 4, 5, generator=generator)
    masks = masks_with_background(logits)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 4, 5))
    scores = normalized_global_weighted_pooling(logits)
    # The 1 below the line pulls scores towards 0.
    low, high = logits.amin(dim=(2, 3)).clamp(max=0), logits.amax(dim=(2, 3)).clamp(min=0)
    assert ((scores >= low) & (scores <= high)).all()
    assert torch.isfinite(focal_mask_penalty(masks)).all()


@given(st.integers(0, 1000))
def test_the_order_of_pixels_and_of_classes_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    pixels = torch.randperm(20, generator=generator)
    moved = logits.flatten(2)[..., pixels].view_as(logits).flip(1)
    for pool in (
        normalized_global_weighted_pooling,
        lambda x: focal_mask_penalty(masks_with_background(x)[:, 1:]),
    ):
        torch.testing.assert_close(pool(moved), pool(logits).flip(1))


def test_a_class_without_any_pixel_scores_zero_and_has_the_largest_penalty() -> None:
    logits = torch.full((1, 2, 3, 3), -1000.0)
    assert normalized_global_weighted_pooling(logits).tolist() == [[0.0, 0.0]]
    penalty = focal_mask_penalty(masks_with_background(logits)[:, 1:])
    torch.testing.assert_close(penalty, torch.full((1, 2), math.log(0.01)))


def test_a_class_of_the_whole_image_has_no_penalty() -> None:
    logits = torch.tensor([1000.0, -1000.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert focal_mask_penalty(masks_with_background(logits)[:, 1:])[0, 0] == 0.0
    scores = normalized_global_weighted_pooling(logits)
    torch.testing.assert_close(scores, torch.tensor([[900.0, 0.0]]))


def test_a_mean_that_rounding_lifts_above_one_is_no_trouble() -> None:
    masks = torch.full((1, 1, 2, 2), 1 + 1e-6)
    assert focal_mask_penalty(masks, power=2.5).tolist() == [[0.0]]


def test_no_class_gives_no_score_and_a_mask_of_background() -> None:
    none = torch.zeros(2, 0, 3, 3)
    assert normalized_global_weighted_pooling(none).shape == (2, 0)
    assert torch.equal(masks_with_background(none), torch.ones(2, 1, 3, 3))


def test_another_background_logit() -> None:
    logits = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(
        masks_with_background(logits, background=-2.0),
        F.pad(logits, (0, 0, 0, 0, 1, 0), value=-2.0).softmax(1),
    )


def test_gradients_are_those_of_finite_differences() -> None:
    logits = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalized_global_weighted_pooling, logits)
    assert torch.autograd.gradcheck(masks_with_background, logits)
    masks = torch.rand(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(focal_mask_penalty, masks)


@pytest.mark.parametrize(
    "pool", [normalized_global_weighted_pooling, masks_with_background, focal_mask_penalty]
)
def test_precision(pool: Callable[[Tensor], Tensor]) -> None:
    maps = torch.rand(2, 3, 8, 8)
    expected = pool(maps)
    assert pool(maps.double()).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        half = maps.to(dtype)
        assert torch.equal(pool(half), pool(half.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pool(maps), expected)
    assert_compiles(pool, maps)


MAPS = torch.zeros(1, 2, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: normalized_global_weighted_pooling(MAPS[0]),
            ShapeError,
            r"logits: expected shape \(B, C, h, w\), got \(2, 3, 3\)",
        ),
        (
            lambda: normalized_global_weighted_pooling(MAPS[..., :0]),
            ShapeError,
            r"logits: expected at least one pixel, got \(1, 2, 3, 0\)",
        ),
        (
            lambda: normalized_global_weighted_pooling(MAPS.long()),
            TypeError,
            "logits: expected a floating-point tensor",
        ),
        (lambda: masks_with_background(MAPS[0]), ShapeError, r"logits: expected shape"),
        (lambda: masks_with_background(MAPS.int()), TypeError, r"logits: expected a floating"),
        (lambda: focal_mask_penalty(MAPS[0]), ShapeError, r"masks: expected shape \(B, C, h, w\)"),
        (lambda: focal_mask_penalty(MAPS.int()), TypeError, "masks: expected a floating-point"),
        (lambda: focal_mask_penalty(MAPS[:, :, :0]), ShapeError, "masks: expected at least one"),
        (
            lambda: focal_mask_penalty(MAPS, power=-1),
            ValueError,
            r"power: expected a number in \[0, inf\], got -1",
        ),
        (
            lambda: focal_mask_penalty(MAPS, offset=0),
            ValueError,
            r"offset: expected a number in \(0, inf\), got 0",
        ),
        (
            lambda: focal_mask_penalty(MAPS, power="3"),  # type: ignore[arg-type]
            TypeError,
            "power: expected a number, got str",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
