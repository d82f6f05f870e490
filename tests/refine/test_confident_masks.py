"""Masks refined at their own size, and the pixels that one class alone is sure of."""

from __future__ import annotations

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
from fsr.refine import PAMR, confident_masks, refine_masks
from tests.helpers import assert_compiles

Recorded = Callable[[str], dict[str, Tensor]]


def confident_by_loops(
    masks: NDArray[np.float64], top: float, background_top: float, lowest: float
) -> NDArray[np.float64]:
    """Every class claims its pixels; those claimed twice are taken back."""
    channels, height, width = masks.shape
    result = np.zeros_like(masks)
    for y, x in np.ndindex(height, width):
        claims = []
        for c in range(channels):
            share = top if c else background_top
            if masks[c, y, x] > max(share * masks[c].max(), lowest):
                claims.append(c)
        if len(claims) == 1:
            result[claims[0], y, x] = 1
    return result


def unchanged(images: Tensor, masks: Tensor) -> Tensor:
    """A refinement that refines nothing."""
    assert images.shape[-2:] == masks.shape[-2:]
    return masks


# -- refinement -----------------------------------------------------------------------------------


def test_recorded_refinement_is_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_refine")
    images, masks, labels = (recorded[f"in_{name}"] for name in ("images", "masks", "labels"))
    pamr = PAMR(int(recorded["arg_iterations"]), recorded["arg_dilations"].tolist())
    refined = refine_masks(pamr, images, masks, labels)
    torch.testing.assert_close(refined, recorded["out_refined"], rtol=0, atol=5e-6)
    reduced = F.interpolate(images, (14, 17), mode="bilinear", align_corners=True)
    torch.testing.assert_close(pamr(reduced, masks), recorded["out_low"], rtol=0, atol=5e-6)


def test_images_come_down_to_the_masks_and_the_masks_go_up_with_aligned_corners() -> None:
    images, masks = torch.zeros(1, 3, 1, 5), torch.tensor([[[[0.0, 1.0, 0.5]], [[0.0, 0.0, 0.8]]]])
    grown = refine_masks(unchanged, images, masks, torch.ones(1, 1))
    expected = torch.tensor([[[[0.0, 0.5, 1.0, 0.75, 0.5]], [[0.0, 0.0, 0.0, 0.4, 0.8]]]])
    torch.testing.assert_close(grown, expected)


def test_absent_classes_are_cleaned_and_the_background_stays() -> None:
    masks = torch.rand(2, 4, 3, 3)
    labels = torch.tensor([[1, 0, 1], [0, 0, 0]])
    refined = refine_masks(unchanged, torch.rand(2, 3, 3, 3), masks, labels)
    kept = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    assert torch.equal(refined, masks * kept[:, :, None, None])


def test_refined_masks_have_no_gradient_and_are_float32_at_least() -> None:
    masks = torch.rand(1, 2, 3, 3, requires_grad=True)
    images, labels = torch.rand(1, 3, 6, 6), torch.ones(1, 1)
    pamr = PAMR(2, (1,))
    assert not refine_masks(pamr, images, masks, labels).requires_grad
    half = refine_masks(pamr, images.bfloat16(), masks.bfloat16(), labels)
    assert half.dtype == torch.float32
    assert torch.equal(
        half, refine_masks(pamr, images.bfloat16().float(), masks.bfloat16().float(), labels)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = refine_masks(pamr, images, masks, labels)
    assert torch.equal(inside, refine_masks(pamr, images, masks, labels))


# -- confidence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(0.6, 0.7, 0.2), (0.0, 1.0, 0.0), (0.3, 0.3, 0.5)])
def test_it_matches_plain_loops(options: tuple[float, float, float]) -> None:
    masks = torch.randn(3, 4, 6, 5, dtype=torch.float64).mul(2).softmax(1)
    chosen = confident_masks(masks, *options)
    for b in range(3):
        np.testing.assert_array_equal(chosen[b], confident_by_loops(masks[b].numpy(), *options))


def test_recorded_pseudo_masks_are_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_pseudo_masks")
    options = [float(recorded[f"arg_{name}"]) for name in ("top", "background_top", "lowest")]
    masks = recorded["in_masks"]
    assert torch.equal(confident_masks(masks, *options), recorded["out_pseudo_masks"])
    assert torch.equal(confident_masks(masks), recorded["out_pseudo_masks"])


def test_recorded_masks_of_the_whole_head_are_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_head")
    chosen = confident_masks(recorded["out_refined"])
    assert torch.equal(chosen, recorded["out_pseudo_masks"])


def test_a_value_at_the_threshold_is_not_above_it() -> None:
    masks = torch.tensor([[[[0.0, 0.0, 0.0]], [[1.0, 0.5, 0.51]]]])
    assert confident_masks(masks, top=0.5)[0, 1].tolist() == [[1.0, 0.0, 1.0]]
    weak = torch.tensor([[[[0.0, 0.0]], [[0.2, 0.21]]]])
    assert confident_masks(weak)[0, 1].tolist() == [[0.0, 1.0]]


def test_a_pixel_claimed_twice_belongs_to_nobody() -> None:
    masks = torch.tensor([[[[0.5, 0.0]], [[0.5, 0.5]]]])
    assert confident_masks(masks).tolist() == [[[[0.0, 0.0]], [[0.0, 1.0]]]]


def test_empty_constant_and_single_pixel_masks() -> None:
    assert not confident_masks(torch.zeros(2, 3, 4, 4)).any()
    # Alone in the image, the background claims every pixel of a constant map.
    only = torch.zeros(1, 2, 4, 4)
    only[:, 0] = 0.9
    assert confident_masks(only)[0].mean(dim=(1, 2)).tolist() == [1.0, 0.0]
    assert confident_masks(torch.tensor([0.1, 0.8]).view(1, 2, 1, 1)).flatten().tolist() == [0, 1]


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_has_one_class_at_most_and_its_value_is_not_low(
    seed: int, top: float, background_top: float, lowest: float
) -> None:
    masks = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    chosen = confident_masks(masks, top, background_top, lowest)
    assert set(chosen.unique().tolist()) <= {0.0, 1.0}
    assert chosen.sum(dim=1).max() <= 1
    assert (masks[chosen == 1] > lowest).all()


def test_types_device_and_compilation(device: torch.device) -> None:
    masks = torch.randn(2, 4, 6, 5).mul(2).softmax(1)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cast = masks.to(dtype)
        chosen = confident_masks(cast.to(device))
        assert (chosen.dtype, chosen.device.type) == (dtype, device.type)
        assert torch.equal(chosen.float().cpu(), confident_masks(cast.double()).float())
    assert not confident_masks(masks.requires_grad_()).requires_grad
    assert_compiles(confident_masks, masks)


MASKS, IMAGES, LABELS = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 8, 8), torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: confident_masks(MASKS[0]), ShapeError, r"masks: expected shape \(B, C\+1, H, W\)"),
        (lambda: confident_masks(MASKS[:, :0]), ShapeError, "masks: expected at least one class"),
        (lambda: confident_masks(MASKS[..., :0]), ShapeError, "masks: expected at least one"),
        (lambda: confident_masks(MASKS.bool()), TypeError, "masks: expected a floating-point"),
        (lambda: confident_masks(MASKS, top=1.5), ValueError, r"top: expected a number in \[0, 1"),
        (lambda: confident_masks(MASKS, background_top=-1), ValueError, "background_top: expected"),
        (lambda: confident_masks(MASKS, lowest=2), ValueError, "lowest: expected a number"),
        (
            lambda: refine_masks(unchanged, IMAGES[0], MASKS, LABELS),
            ShapeError,
            r"images: expected shape \(B, K, H, W\)",
        ),
        (
            lambda: refine_masks(unchanged, IMAGES, MASKS[:1], LABELS),
            ShapeError,
            r"masks: expected shape \(B, C\+1, h, w\) with B=2",
        ),
        (
            lambda: refine_masks(unchanged, IMAGES, MASKS, torch.zeros(2, 3)),
            ShapeError,
            r"labels: expected shape \(B, C\) with B=2, C=2, got \(2, 3\)",
        ),
        (
            lambda: refine_masks(unchanged, IMAGES.byte(), MASKS, LABELS),
            TypeError,
            "images: expected a floating-point tensor",
        ),
        (
            lambda: refine_masks(unchanged, IMAGES, MASKS.long(), LABELS),
            TypeError,
            "masks: expected a floating-point tensor",
        ),
        (
            lambda: refine_masks(unchanged, IMAGES[..., :0], MASKS, LABELS),
            ShapeError,
            "images: expected at least one pixel",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
