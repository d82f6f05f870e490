"""ReCAM's maps and the sums over mirror images and sizes: loops, recorded values, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.cam import keep_present, recam, resize_cam, sum_flip, sum_sizes
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Load = Callable[[str], dict[str, Tensor]]


def close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_maps_are_those_of_the_loops() -> None:
    features = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    first, second = torch.randn(2, 3, 4, dtype=torch.float64)
    maps = recam(features, first, second)
    assert maps.shape == (2, 3, 2, 3)
    for b, c, y, x in np.ndindex(*maps.shape):
        terms = [first[c, d] * second[c, d] * features[b, d, y, x] for d in range(4)]
        assert maps[b, c, y, x].item() == pytest.approx(float(sum(terms)), rel=1e-12)
    assert torch.equal(recam(features, first[..., None, None], second[..., None, None]), maps)
    features.requires_grad_()
    assert torch.autograd.gradcheck(recam, (features, first, second))


def test_recorded_maps_are_reproduced(parity: Load) -> None:
    recorded = parity("systems/recam_loss")
    given = (recorded[f"in_{key}"] for key in ("features", "classifier", "predictor"))
    close(recam(*given), recorded["out_recam"])


def test_recorded_sums_over_mirror_and_sizes_are_reproduced(parity: Load) -> None:
    recorded = parity("systems/recam_maps")
    maps = []
    for number in (0, 1):
        pair = recam(
            recorded[f"in_pair{number}"], recorded["in_classifier"], recorded["in_predictor"]
        )
        maps.append(sum_flip(pair[:1], pair[1:]))
        close(maps[-1][0], recorded[f"out_map{number}"])
    height, width = recorded["arg_size"].tolist()
    labels = recorded["in_labels"][:1]
    merged = keep_present(sum_sizes(maps, (height, width)), labels)
    close(merged[0, labels[0] > 0], recorded["out_merged_present_of_image0"])
    assert merged[0, labels[0] == 0].abs().max() == 0


def test_a_flip_adds_positive_parts_where_they_belong() -> None:
    cam, flipped = torch.randn(2, 2, 3, 2, 5, dtype=torch.float64)
    found = sum_flip(cam, flipped)
    for b, c, y, x in np.ndindex(*cam.shape):
        expected = max(cam[b, c, y, x].item(), 0) + max(flipped[b, c, y, 4 - x].item(), 0)
        assert found[b, c, y, x].item() == pytest.approx(expected)
    # The mirror image's map is the map's mirror image.
    assert torch.equal(sum_flip(flipped, cam), found.flip(-1))


@given(st.integers(0, 1000), st.sampled_from([(4, 6), (3, 5), (1, 1)]))
def test_a_sum_of_sizes_is_between_0_and_1_and_knows_no_order(
    seed: int, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    cams = [torch.rand(2, 3, h, 6, generator=generator, dtype=torch.float64) for h in (2, 4, 8)]
    found = sum_sizes(cams, size)
    assert found.shape == (2, 3, *size)
    assert ((found >= 0) & (found <= 1)).all()
    peaks = found.amax(dim=(2, 3))
    torch.testing.assert_close(peaks, torch.ones_like(peaks), rtol=0, atol=1e-3)
    torch.testing.assert_close(sum_sizes(cams[::-1], size), found)
    total = torch.stack([resize_cam(cam, size) for cam in cams]).sum(0)
    torch.testing.assert_close(found, total / (total.amax(dim=(2, 3), keepdim=True) + 1e-5))


def test_constant_maps_keep_their_level_and_zeros_stay_zero() -> None:
    cam = torch.stack([torch.full((3, 4), 2.0), torch.zeros(3, 4)])[None]
    found = sum_sizes([cam], (6, 8))
    torch.testing.assert_close(found[0, 0], torch.ones(6, 8))
    assert found[0, 1].abs().max() == 0
    assert sum_sizes([cam], (3, 4), eps=2.0)[0, 0, 0, 0] == 0.5


def test_precision() -> None:
    features, first, second = torch.randn(1, 4, 3, 3), torch.randn(2, 4), torch.randn(2, 4)
    maps = recam(features, first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(recam(features, first, second), maps)
    half = [value.bfloat16() for value in (features, first, second)]
    expected = recam(half[0].float(), half[1].float(), half[2].float())
    assert torch.equal(recam(half[0], half[1], half[2]), expected)
    cam = maps.bfloat16()
    assert torch.equal(sum_flip(cam, cam), sum_flip(cam.float(), cam.float()))
    summed = sum_sizes([cam.relu(), cam.relu()], (5, 5))
    assert torch.equal(summed, sum_sizes([cam.float().relu()] * 2, (5, 5)))
    assert_compiles(recam, features, first, second)
    assert_compiles(sum_sizes, [maps.relu()], (5, 5))


CAM = torch.zeros(2, 3, 4, 5)
FEATURES, WEIGHT = torch.zeros(2, 6, 4, 5), torch.zeros(3, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: recam(FEATURES[0], WEIGHT, WEIGHT), ShapeError, r"features: .*\(B, D, H, W\)"),
        (lambda: recam(FEATURES.int(), WEIGHT, WEIGHT), TypeError, "features: .*floating"),
        (lambda: recam(FEATURES, WEIGHT[:, :5], WEIGHT), ShapeError, "class_weight: .*D=6"),
        (lambda: recam(FEATURES, WEIGHT, WEIGHT[:2]), ShapeError, "predictor_weight: .*C=3"),
        (lambda: sum_flip(CAM[0], CAM), ShapeError, r"cam: .*\(B, C, H, W\)"),
        (lambda: sum_flip(CAM, CAM[..., :4]), ShapeError, "cam_of_flipped: .*W=5"),
        (lambda: sum_flip(CAM.int(), CAM), TypeError, "cam: .*floating"),
        (lambda: sum_flip(CAM, CAM.int()), TypeError, "cam_of_flipped: .*floating"),
        (lambda: sum_sizes([], (1, 1)), ValueError, "cams: expected at least one tensor"),
        (lambda: sum_sizes([CAM, CAM[:, :2]], (1, 1)), ShapeError, r"cams\[1\]: .*B=2, C=3"),
        (lambda: sum_sizes([CAM.int()], (1, 1)), TypeError, r"cams\[0\]: .*floating"),
        (lambda: sum_sizes([CAM], (0, 1)), ValueError, "size: expected two positive integers"),
        (lambda: sum_sizes([CAM], 4), TypeError, "size: expected two integers"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_by_name(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
