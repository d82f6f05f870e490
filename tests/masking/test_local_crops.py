"""Regions and local crops against the recorded ones, loops and their own promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.masking import crop_flags, sample_local_crops, uncertain_regions
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]

# -- regions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toco_crops", "toco_ties"])
def test_the_recorded_regions_of_toco(parity: Parity, name: str) -> None:
    recorded = parity(f"systems/{name}")
    low, high = recorded["arg_low"].item(), recorded["arg_high"].item()
    found = uncertain_regions(recorded["in_cam"], recorded["in_labels"], low, high)
    assert torch.equal(found, recorded["out_regions"].long())


@given(st.integers(0, 1000))
def test_regions_are_those_of_the_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randint(0, 9, (2, 3, 4, 5), generator=generator) / 8
    labels = torch.randint(0, 2, (2, 3), generator=generator)
    found = uncertain_regions(cam, labels, 0.25, 0.75)
    assert found.dtype == torch.int64
    for b in range(2):
        for y in range(4):
            for x in range(5):
                value = max([0.0, *(cam[b, c, y, x].item() for c in range(3) if labels[b, c])])
                expected = 0 if value <= 0.25 else 2 if value >= 0.75 else 1
                assert found[b, y, x] == expected


def test_half_precision_does_not_move_the_thresholds() -> None:
    # 0.7 is 0.69922 in bfloat16, which is below the threshold.
    cam = torch.full((1, 1, 1, 1), 0.7, dtype=torch.bfloat16)
    assert uncertain_regions(cam, torch.ones(1, 1), 0.25, 0.7).item() == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cam": torch.zeros(2, 4, 4)}, ShapeError, r"cam: expected shape \(B, C, H, W\)"),
        ({"labels": torch.zeros(1, 3)}, ShapeError, "labels: .*B=1, C=2"),
        ({"cam": torch.zeros(1, 2, 4, 4).long()}, TypeError, "cam: expected a floating"),
        ({"cam": torch.full((1, 2, 4, 4), 2.0)}, ValueError, "cam: expected values between 0 and"),
        ({"low": -0.1}, ValueError, "low: expected a number in .*got -0.1"),
        ({"high": 1.1}, ValueError, "high: expected a number in .*got 1.1"),
        ({"low": 0.7}, ValueError, "low: expected a number below high=0.7, got 0.7"),
    ],
)
def test_bad_regions_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"cam": torch.zeros(1, 2, 4, 4), "labels": torch.ones(1, 2)}
    with pytest.raises(error, match=message):
        uncertain_regions(**(good | {"low": 0.25, "high": 0.7} | changes))


# -- flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toco_crops", "toco_crop_flags"])
def test_the_recorded_flags_of_toco(parity: Parity, name: str) -> None:
    recorded = parity(f"systems/{name}")
    regions = recorded["in_regions" if "in_regions" in recorded else "out_regions"]
    found = crop_flags(regions, recorded["in_top_left"], int(recorded["arg_crop_size"]))
    # The first two flags are those of the global views.
    assert torch.equal(found, recorded["out_flags"][:, 2:] > 0)


@given(st.integers(0, 1000), st.integers(1, 5))
def test_flags_are_those_of_the_loops(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randint(0, 3, (2, 6, 5), generator=generator)
    top = torch.randint(0, 7 - size, (2, 4), generator=generator)
    left = torch.randint(0, 6 - size, (2, 4), generator=generator)
    found = crop_flags(regions, torch.stack([top, left], dim=2), size, 0.9)
    for b in range(2):
        for k in range(4):
            y, x = int(top[b, k]), int(left[b, k])
            values = [int(regions[b, y + i, x + j]) for i in range(size) for j in range(size)]
            assert found[b, k] == (sum(values) / size**2 > 0.9)


def test_exactly_the_threshold_is_negative_and_a_little_more_positive() -> None:
    regions = torch.zeros(1, 10, 11, dtype=torch.int64)
    regions[0, :2, :10] = 1
    regions[0, 9, 10] = 1
    assert crop_flags(regions, torch.tensor([[[0, 0], [0, 1]]]), 10).tolist() == [[False, False]]
    regions[0, 9, 9] = 1
    assert crop_flags(regions, torch.tensor([[[0, 0], [0, 1]]]), 10).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"regions": torch.zeros(1, 2, 4, 4).long()}, ShapeError, "regions: expected shape"),
        ({"regions": torch.zeros(1, 4, 6)}, TypeError, "regions: expected an integer tensor"),
        ({"top_left": torch.zeros(2, 2, 2).long()}, ShapeError, "top_left: .*B=1"),
        ({"top_left": torch.zeros(1, 2, 2)}, TypeError, "top_left: expected an integer tensor"),
        (
            {"top_left": torch.tensor([[[0, 0], [2, 3]]])},
            ValueError,
            r"top_left: expected rows from 0 to 1 and columns from 0 to 3, got \[2, 3\]",
        ),
        ({"top_left": torch.tensor([[[0, -1]]])}, ValueError, r"top_left: .*got \[0, -1\]"),
        ({"crop_size": 5}, ShapeError, r"regions: expected at least crop_size=5 pixels, got \(4"),
        ({"crop_size": 0}, ValueError, "crop_size: expected a positive integer, got 0"),
        ({"threshold": 2.5}, ValueError, "threshold: expected a number in .*got 2.5"),
    ],
)
def test_bad_flags_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"regions": torch.zeros(1, 4, 6).long(), "crop_size": 3}
    good["top_left"] = torch.zeros(1, 2, 2).long()
    with pytest.raises(error, match=message):
        crop_flags(**(good | changes))


# -- crops ----------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 6))
def test_crops_are_what_lies_at_their_places(seed: int, size: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 8, 9, generator=generator)
    regions = torch.randint(0, 3, (2, 8, 9), generator=generator)
    crops, top_left, positive = sample_local_crops(
        images, regions, count, size, threshold=0.8, generator=generator
    )
    wanted, half = regions <= 1, size // 2
    inner = wanted[:, half : half + 9 - size, half : half + 10 - size]
    for b in range(2):
        places = [tuple(place) for place in top_left[b].tolist()]
        assert len(set(places)) == count
        enough = inner[b].sum() >= count
        for crop, (y, x) in zip(crops[b], places, strict=True):
            assert torch.equal(crop, images[b, :, y : y + size, x : x + size])
            assert crop.shape == (3, size, size)
            assert wanted[b, y + half, x + half] or not enough
    assert torch.equal(positive, crop_flags(regions, top_left, size, 0.8))


def test_the_recorded_places_are_among_those_that_may_be_drawn(parity: Parity) -> None:
    recorded = parity("systems/toco_crop_flags")
    regions, places = recorded["in_regions"], recorded["in_top_left"]
    size, count = int(recorded["arg_crop_size"]), places.shape[1]
    few = 0
    for region, tops in zip(regions, places, strict=True):
        drawn = sample_local_crops(
            torch.zeros(400, 3, *region.shape), region.expand(400, -1, -1), count, size
        )[1]
        possible = {tuple(place) for place in drawn.flatten(0, 1).tolist()}
        assert {tuple(place) for place in tops.tolist()} <= possible
        centres = [region[y + size // 2, x + size // 2].item() for y, x in tops.tolist()]
        few += max(centres) > 1
    # Of some images the released code, too, had to take crops around sure pixels.
    assert few > 0


def test_every_candidate_is_drawn_as_often_as_any_other() -> None:
    regions = torch.full((3000, 3, 4), 2)
    regions[:, 1, 1:3] = torch.tensor([0, 1])
    regions[:, 2, 3] = 1
    top_left = sample_local_crops(torch.zeros(3000, 3, 3, 4), regions, 1, 1)[1]
    counts = torch.zeros(3, 4).index_put_(
        tuple(top_left[:, 0].T), torch.ones(3000), accumulate=True
    )
    assert counts.nonzero().tolist() == [[1, 1], [1, 2], [2, 3]]
    assert (counts[counts > 0] - 1000).abs().max() < 120


def test_too_few_candidates_open_all_places() -> None:
    regions = torch.full((2000, 3, 3), 2)
    regions[:, 1, 1] = 0
    top_left = sample_local_crops(torch.zeros(2000, 3, 3, 3), regions, 2, 1)[1]
    counts = torch.zeros(3, 3).index_put_(
        tuple(top_left.flatten(0, 1).T), torch.ones(4000), accumulate=True
    )
    assert (counts - 4000 / 9).abs().max() < 90


def test_an_image_of_one_crop() -> None:
    images = torch.rand(1, 3, 4, 4)
    crops, top_left, positive = sample_local_crops(images, torch.full((1, 4, 4), 2), 1, 4)
    assert torch.equal(crops[:, 0], images)
    assert (top_left.tolist(), positive.tolist()) == ([[[0, 0]]], [[True]])


def test_the_generator_decides_and_the_gradient_reaches_the_images() -> None:
    images = torch.rand(1, 3, 9, 9, requires_grad=True)
    regions = torch.zeros(1, 9, 9, dtype=torch.int64)
    drawn = [
        sample_local_crops(images, regions, 3, 4, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][1], drawn[2][1])
    drawn[0][0].sum().backward()
    assert images.grad.sum() == 3 * 3 * 16


def test_regions_and_flags_compile() -> None:
    cam, labels = torch.rand(2, 3, 8, 8), torch.ones(2, 3)
    assert_compiles(uncertain_regions, cam, labels, 0.2, 0.7)
    assert_compiles(crop_flags, torch.ones(2, 8, 8).long(), torch.zeros(2, 5, 2).long(), 4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(1, 1, 4, 6)}, ShapeError, "images: expected shape"),
        ({"regions": torch.zeros(1, 4, 5).long()}, ShapeError, "regions: .*H=4, W=6"),
        ({"regions": torch.zeros(1, 4, 6)}, TypeError, "regions: expected an integer tensor"),
        ({"count": 0}, ValueError, "count: expected a positive integer, got 0"),
        (
            {"count": 9},
            ValueError,
            r"count: expected at most 8 crops of crop_size=3 in images of \(4, 6\), got 9",
        ),
        ({"crop_size": 5}, ShapeError, "images: expected at least crop_size=5 pixels, got"),
        ({"crop_size": 2.5}, TypeError, "crop_size: expected a positive integer, got 2.5"),
        ({"threshold": -1.0}, ValueError, "threshold: expected a number in .*got -1.0"),
    ],
)
def test_bad_crops_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"images": torch.zeros(1, 3, 4, 6), "count": 2, "crop_size": 3}
    good["regions"] = torch.zeros(1, 4, 6).long()
    with pytest.raises(error, match=message):
        sample_local_crops(**(good | changes))
