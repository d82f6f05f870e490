"""Padded crops against the recorded ones, loops, and the boxes that they promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fsr.data import PaddedCrop, RandomRescaleCrop, padded_crop
from fsr.errors import ShapeError

Parity = Callable[[str], dict[str, Tensor]]


def photograph(height: int, width: int) -> Image.Image:
    """An image without black pixels, whose columns differ."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([20 + columns, 30 + rows, 0 * rows + 9], -1).astype(np.uint8))


@pytest.mark.parametrize("index", range(4))
def test_the_recorded_crops_and_boxes(parity: Parity, index: int) -> None:
    recorded = parity("systems/toco_random_crop")
    image = Image.fromarray(recorded[f"in_image{index}"].numpy())
    crop, box = padded_crop(
        image,
        int(recorded["arg_size"]),
        pad=recorded[f"arg_pad{index}"].tolist(),
        start=recorded[f"arg_start{index}"].tolist(),
    )
    assert np.array_equal(np.asarray(crop), recorded[f"out_crop{index}"].numpy())
    assert list(box) == recorded[f"out_box{index}"].tolist()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_crop_is_that_of_the_loops(height: int, width: int, size: int, data: Any) -> None:
    image = 1 + torch.arange(height * width).view(1, height, width)
    pad = [data.draw(st.integers(0, max(size - n, 0))) for n in (height, width)]
    start = [data.draw(st.integers(0, max(n - size, 0))) for n in (height, width)]
    crop, (top, bottom, left, right) = padded_crop(image, size, pad=pad, start=start)
    expected = torch.zeros(1, size, size, dtype=torch.int64)
    for y in range(size):
        for x in range(size):
            row, column = y + start[0] - pad[0], x + start[1] - pad[1]
            if 0 <= row < height and 0 <= column < width:
                expected[0, y, x] = image[0, row, column]
    assert torch.equal(crop, expected)
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert torch.equal(crop[0] > 0, inside)


@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 80))
def test_the_box_holds_the_image_and_nothing_else(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    crop, (top, bottom, left, right) = RandomRescaleCrop(32)(photograph(height, width))
    assert crop.size == (32, 32)
    real = np.asarray(crop)[..., 0] > 0
    inside = np.zeros_like(real)
    inside[top:bottom, left:right] = True
    assert np.array_equal(real, inside)
    assert real.any()


def test_a_small_image_is_whole_and_a_large_one_fills_the_crop() -> None:
    whole = RandomRescaleCrop(32, scale=(0.5, 0.5), flip=0.0)
    places = set()
    for _ in range(40):
        top, bottom, left, right = whole(photograph(21, 11)).box
        assert (bottom - top, right - left) == (10, 5)
        places.add((top, left))
    assert len(places) > 20
    for _ in range(5):
        assert RandomRescaleCrop(16)(photograph(40, 33)).box == (0, 16, 0, 16)


def test_places_cover_their_range_and_one_factor_scales_both_sides() -> None:
    crops = [RandomRescaleCrop(60)(photograph(20, 30)) for _ in range(400)]
    boxes = torch.tensor([crop.box for crop in crops])
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert (int(heights.min()), int(heights.max())) == (10, 39)
    assert ((widths - 1.5 * heights).abs() <= 1.5).all()
    assert (boxes[:, 0] == 0).any()
    assert (boxes[:, 1] == 60).any()
    starts = {
        int(
            np.asarray(RandomRescaleCrop(9, (1.0, 1.0), flip=0.0)(photograph(12, 12)).image)[
                0, 0, 1
            ]
        )
        for _ in range(60)
    }
    assert starts == {30, 31, 32, 33}


def test_the_mirror_is_drawn_once_and_the_box_is_that_of_the_mirrored_image() -> None:
    def mirrored(flip: float) -> int:
        count = 0
        for _ in range(100):
            crop = RandomRescaleCrop(24, (1.0, 1.0), flip=flip)(photograph(8, 8))
            top, _, left, right = crop.box
            row = np.asarray(crop.image)[top, left:right, 0]
            assert list(row) in ([*range(20, 28)], [*range(27, 19, -1)])
            count += bool(row[0] > row[-1])
        return count

    assert (mirrored(0.0), mirrored(1.0)) == (0, 100)
    assert 25 < mirrored(0.5) < 75


def test_the_kind_of_the_image_is_kept_and_the_image_left_alone() -> None:
    pixels = torch.full((3, 8, 6), 200, dtype=torch.uint8)
    crop, _ = RandomRescaleCrop(10)(pixels)
    assert crop.dtype == torch.uint8
    assert crop.shape == (3, 10, 10)
    image = photograph(8, 6)
    before = image.tobytes()
    result = RandomRescaleCrop(10)(image)
    assert isinstance(result, PaddedCrop)
    assert (result.image.mode, image.tobytes()) == ("RGB", before)


def test_a_pixel_scaled_below_one_stays_one() -> None:
    top, bottom, left, right = RandomRescaleCrop(4, (0.5, 0.5))(photograph(1, 7)).box
    assert (bottom - top, right - left) == (1, 3)


def test_torchs_global_random_state_decides_everything() -> None:
    crop = RandomRescaleCrop(16)
    boxes = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        boxes.append([crop(photograph(20, 14)).box for _ in range(8)])
    assert boxes[0] == boxes[1] != boxes[2]


def test_the_options_show() -> None:
    assert repr(RandomRescaleCrop(8)) == "RandomRescaleCrop(8, scale=(0.5, 2.0), flip=0.5)"


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: RandomRescaleCrop(0), ValueError, "size: expected a positive integer, got 0"),
        (lambda: RandomRescaleCrop(8, 2.0), TypeError, "scale: expected two numbers, got 2.0"),
        (lambda: RandomRescaleCrop(8, (0.0, 1.0)), ValueError, r"scale\[0\]: .*got 0.0"),
        (lambda: RandomRescaleCrop(8, (1.0, "a")), TypeError, r"scale\[1\]: expected a number"),
        (lambda: RandomRescaleCrop(8, (2.0, 1.0)), ValueError, "scale: expected low <= high, got"),
        (lambda: RandomRescaleCrop(8, flip=1.5), ValueError, "flip: expected a number in .*1.5"),
        (lambda: RandomRescaleCrop(8)("a.jpg"), TypeError, "image: expected a PIL image .*got str"),
        (lambda: RandomRescaleCrop(8)(torch.ones(4, 4)), ShapeError, "image: expected shape"),
        (
            lambda: padded_crop(torch.ones(4), 8, pad=(0, 0), start=(0, 0)),
            TypeError,
            r"image: .*got shape \(4,\)",
        ),
        (
            lambda: padded_crop(torch.ones(4, 9), 8, pad=(5, 0), start=(0, 0)),
            ValueError,
            r"pad\[0\]: expected a number in \[0, 4\], got 5",
        ),
        (
            lambda: padded_crop(torch.ones(4, 9), 8, pad=(0, 0), start=(0, 2)),
            ValueError,
            r"start\[1\]: expected a number in \[0, 1\], got 2",
        ),
        (
            lambda: padded_crop(torch.ones(4, 9), 8, pad=(0, 0.5), start=(0, 0)),
            TypeError,
            r"pad\[1\]: expected an integer, got 0.5",
        ),
        (
            lambda: padded_crop(torch.ones(4, 9), 8, pad=(0, 0), start=(0,)),
            TypeError,
            r"start: expected two integers \(rows, columns\), got \(0,\)",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    build: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()
