"""URN's uncertainty against recorded maps and plain loops, and the weights made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.refine import (
    RESPONSE_SCALES,
    DenseCRF,
    response_scaling_uncertainty,
    uncertainty_weights,
)

Parity = Callable[[str], dict[str, Tensor]]


def make_scores(seed: int = 0, classes: int = 4, height: int = 3, width: int = 4) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(classes, height, width, generator=draw, dtype=torch.float64)
    return scores.softmax(dim=0)


def smoothed(maps: Tensor) -> Tensor:
    """Stand in for a CRF: the squared mean of 3 x 3 pixels, zeros around the image."""
    return F.avg_pool2d(maps[None], 3, stride=1, padding=1)[0].square()


def by_loops(scores: Tensor, scales: tuple[float, ...]) -> list[list[float]]:
    """The uncertainty pixel by pixel, from the formula."""
    _, height, width = scores.shape
    places = list(np.ndindex(height, width))
    present = sorted({int(scores[:, y, x].argmax()) for y, x in places})
    largest = dict.fromkeys(places, 0.0)
    for c in present:
        for y, x in places:
            hard = []
            for power in scales:
                own = scores[c, y, x].item() ** power
                rivals = [scores[k, y, x].item() for k in present if k != c]
                hard.append(float(all(own > rival for rival in rivals)))
            mean = sum(hard) / len(hard)
            variance = sum((value - mean) ** 2 for value in hard) / len(hard)
            largest[y, x] = max(largest[y, x], variance)
    low, high = min(largest.values()), max(largest.values())
    return [
        [(largest[y, x] - low) / (high - low + 1e-6) for x in range(width)] for y in range(height)
    ]


# -- against the released code and the formula ----------------------------------------------------


@pytest.mark.parametrize("name", ["urn", "urn_competition", "urn_refined"])
def test_matches_the_released_code(parity: Parity, name: str) -> None:
    arrays = parity(f"systems/{name}")
    scores, scales = arrays["in_scores"], arrays["arg_scales"].tolist()
    found = response_scaling_uncertainty(
        scores, scales, smoothed if name == "urn_refined" else None
    )
    torch.testing.assert_close(found.double(), arrays["out_uncertainty"], rtol=0, atol=1e-6)
    assert torch.equal(uncertainty_weights(found), arrays["out_weight_map"])
    assert tuple(scales) == RESPONSE_SCALES
    if name == "urn_refined":
        assert torch.equal(smoothed(scores).argmax(0), arrays["out_label"])


@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(1, 5),
    size=st.sampled_from([(1, 1), (1, 4), (3, 5)]),
    scales=st.sampled_from([RESPONSE_SCALES, (0.5, 2.0), (3.0,)]),
)
def test_matches_plain_loops(
    seed: int, classes: int, size: tuple[int, int], scales: tuple[float, ...]
) -> None:
    scores = make_scores(seed, classes, *size)
    found = response_scaling_uncertainty(scores, scales)
    assert found.dtype == torch.float64
    assert found.shape == size
    np.testing.assert_allclose(found, by_loops(scores, scales), rtol=0, atol=1e-12)


# -- properties and nothing to scale --------------------------------------------------------------


@given(seed=st.integers(0, 2**16))
def test_classes_may_change_places_and_images_be_mirrored(seed: int) -> None:
    scores = make_scores(seed)
    found = response_scaling_uncertainty(scores, refine=smoothed)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(response_scaling_uncertainty(scores[order], refine=smoothed), found)
    mirrored = response_scaling_uncertainty(scores.flip(2), refine=smoothed)
    torch.testing.assert_close(mirrored.flip(1), found)


@given(seed=st.integers(0, 2**16))
def test_a_class_that_wins_nowhere_takes_no_part(seed: int) -> None:
    scores = make_scores(seed)
    weaker = scores.amax(dim=0, keepdim=True) * 0.99
    found = response_scaling_uncertainty(torch.cat([scores, weaker]))
    assert torch.equal(found, response_scaling_uncertainty(scores))


def test_one_class_alone_and_one_pixel_are_certain() -> None:
    scores = torch.tensor([0.6, 0.4]).view(2, 1, 1)
    assert response_scaling_uncertainty(scores).tolist() == [[0.0]]
    assert not response_scaling_uncertainty(scores.expand(2, 3, 4)).any()
    assert not response_scaling_uncertainty(torch.full((1, 3, 4), 0.5)).any()


def test_the_refinement_runs_once_on_all_and_then_on_the_classes_that_won() -> None:
    scores, shapes = make_scores(), []

    def noted(maps: Tensor) -> Tensor:
        shapes.append(len(maps))
        return maps

    response_scaling_uncertainty(scores, (0.5, 2.0), noted)
    won = len(scores.argmax(0).unique())
    assert shapes == [4, *[won] * (2 * won)]


def test_a_dense_crf_refines_on_its_image() -> None:
    image = torch.zeros(3, 4, 3, dtype=torch.uint8)
    image[:, 2:] = 200
    crf = DenseCRF("urn", backend="torch")
    found = response_scaling_uncertainty(
        make_scores().float(), refine=lambda maps: crf(image, maps)
    )
    assert torch.isfinite(found).all()
    assert 0 <= found.min() <= found.max() < 1


def test_scores_just_outside_and_half_precision(device: torch.device) -> None:
    scores = torch.tensor([[[1.0005, -0.0005]], [[-0.0005, 1.0005]]], device=device)
    assert response_scaling_uncertainty(scores).tolist() == [[0.0, 0.0]]
    half = make_scores().to(device, torch.bfloat16)
    found = response_scaling_uncertainty(half)
    assert found.dtype == torch.float32
    assert found.device.type == device.type
    assert torch.equal(found, response_scaling_uncertainty(half.float()))


# -- weights --------------------------------------------------------------------------------------


def test_weights_are_cut_not_rounded() -> None:
    uncertainty = torch.tensor([[0.0, 1 / 255 + 1e-6, 0.5, 1.0, 1.0005, -0.0005]])
    expected = torch.tensor([[255, 253, 127, 0, 0, 255]], dtype=torch.uint8)
    assert torch.equal(uncertainty_weights(uncertainty), expected)
    assert uncertainty_weights(torch.zeros(0, 3)).shape == (0, 3)
    assert uncertainty_weights(torch.zeros(2).bfloat16()).dtype == torch.uint8


# -- errors ---------------------------------------------------------------------------------------

SCORES = torch.full((2, 3, 4), 0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None,), TypeError, "scores: expected a tensor"),
        ((SCORES[0],), ShapeError, r"scores: expected shape \(C\+1, h, w\), got"),
        ((SCORES[:0],), ShapeError, "scores: expected at least one class"),
        ((SCORES.long(),), TypeError, "scores: expected a floating-point tensor"),
        ((SCORES + 1,), ValueError, "scores: expected values between 0 and 1, got"),
        ((SCORES, ()), ValueError, "scales: expected at least one power, got none"),
        ((SCORES, (2.0, 0)), ValueError, r"scales: expected a number in \(0.0, inf\), got 0"),
        ((SCORES, ("2",)), TypeError, "scales: expected a number, got str"),
        (
            (SCORES, (2.0,), lambda maps: maps[:1]),
            ShapeError,
            r"refine: expected to return shape \(2, 3, 4\), got \(1, 3, 4\)",
        ),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        response_scaling_uncertainty(*arguments)


@pytest.mark.parametrize(
    ("uncertainty", "error", "message"),
    [
        (0.5, TypeError, "uncertainty: expected a tensor, got float"),
        (torch.ones(2).long(), TypeError, "uncertainty: expected a floating-point tensor"),
        (torch.full((2,), 1.5), ValueError, "uncertainty: expected values between 0 and 1, got"),
    ],
)
def test_bad_uncertainty_is_refused(uncertainty: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        uncertainty_weights(uncertainty)
