"""Flips, transposition and crops of each image on its own, tiles, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.cam import crop_maps, flip_maps, join_tiles, split_tiles, unflip_maps
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

ALL_FLIPS = torch.tensor(list(np.ndindex(2, 2, 2)))


def test_every_combination_is_done_in_order(device: torch.device) -> None:
    maps = torch.randn(8, 2, 3, 3)
    flipped = flip_maps(maps.to(device), ALL_FLIPS).cpu()
    for image, result, (mirrored, upside_down, transposed) in zip(
        maps, flipped, ALL_FLIPS.tolist(), strict=True
    ):
        expected = image.flip(-1) if mirrored else image
        expected = expected.flip(-2) if upside_down else expected
        expected = expected.transpose(-1, -2) if transposed else expected
        assert torch.equal(result, expected)


@given(st.integers(0, 1000))
def test_unflipping_undoes_flipping(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(8, 2, 4, 4, generator=generator)
    flips = torch.randint(0, 2, (8, 3), generator=generator).bool()
    assert torch.equal(unflip_maps(flip_maps(maps, flips), flips), maps)
    assert torch.equal(flip_maps(unflip_maps(maps, flips), flips), maps)


def test_integer_maps_keep_their_type_and_gradients_pass() -> None:
    maps = torch.arange(4).view(1, 1, 2, 2)
    assert flip_maps(maps, torch.tensor([[1, 0, 1]])).tolist() == [[[[1, 3], [0, 2]]]]
    inputs = torch.randn(8, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: flip_maps(x, ALL_FLIPS), inputs)
    assert torch.autograd.gradcheck(lambda x: unflip_maps(x, ALL_FLIPS), inputs)


@pytest.mark.parametrize("size", [(3, 4), (7, 2), (1, 5), (1, 1)])
def test_a_crop_is_what_slicing_and_resizing_give(
    size: tuple[int, int], device: torch.device
) -> None:
    maps = torch.randn(3, 2, 6, 7, dtype=torch.float64)
    box = torch.tensor([[0, 6, 0, 7], [1, 4, 2, 7], [5, 6, 3, 4]])
    cropped = crop_maps(maps.to(device), box, size).cpu()
    for b, (top, bottom, left, right) in enumerate(box.tolist()):
        part = maps[b : b + 1, :, top:bottom, left:right]
        expected = F.interpolate(part, size, mode="bilinear", align_corners=True)
        torch.testing.assert_close(cropped[b : b + 1], expected)


def test_without_a_box_the_maps_are_resized_and_their_own_size_changes_nothing() -> None:
    maps = torch.randn(2, 3, 24, 24)
    assert torch.equal(crop_maps(maps, None, (24, 24)), maps)
    expected = F.interpolate(maps, (9, 14), mode="bilinear", align_corners=True)
    torch.testing.assert_close(crop_maps(maps, None, (9, 14)), expected)


def test_what_lies_outside_the_box_does_not_matter() -> None:
    maps = torch.full((1, 1, 48, 48), torch.finfo(torch.float32).max)
    maps[..., 7:20, 3:30] = 1.0
    cropped = crop_maps(maps, torch.tensor([[7, 20, 3, 30]]), (11, 24))
    torch.testing.assert_close(cropped, torch.ones(1, 1, 11, 24))


def test_gradient_of_a_crop_precision_and_compilation() -> None:
    box = torch.tensor([[0, 2, 1, 3], [1, 3, 0, 3]])
    inputs = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: crop_maps(x, box, (2, 4)), inputs)
    maps = torch.rand(2, 2, 6, 6)
    for dtype in (torch.float16, torch.bfloat16):
        half = maps.to(dtype)
        assert torch.equal(crop_maps(half, box, (3, 3)), crop_maps(half.float(), box, (3, 3)))
    expected = crop_maps(maps, box, (3, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(crop_maps(maps, box, (3, 3)), expected)
    assert_compiles(crop_maps, maps, box, (3, 3))
    assert_compiles(flip_maps, maps, ALL_FLIPS[:2])
    assert_compiles(unflip_maps, maps, ALL_FLIPS[-2:])


# -- tiles ----------------------------------------------------------------------------------------


def test_tiles_lie_row_by_row() -> None:
    tiles = torch.arange(6).view(6, 1, 1, 1).expand(6, 1, 2, 2)
    joined = join_tiles(tiles, (2, 3))
    assert joined.shape == (1, 1, 4, 6)
    assert joined[0, 0, ::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5]]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_splitting_undoes_joining(rows: int, columns: int, pictures: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tiles = torch.randn(pictures * rows * columns, 2, 3, 4, generator=generator)
    joined = join_tiles(tiles, (rows, columns))
    assert joined.shape == (pictures, 2, 3 * rows, 4 * columns)
    assert torch.equal(split_tiles(joined, (rows, columns)), tiles)


# -- errors ---------------------------------------------------------------------------------------

MAPS, FLIPS, BOX = torch.zeros(2, 1, 4, 4), torch.zeros(2, 3), torch.tensor([[0, 2, 0, 2]] * 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: flip_maps(MAPS[0], FLIPS), ShapeError, r"maps: expected shape \(B, K, S, S\)"),
        (lambda: flip_maps(MAPS[..., 1:], FLIPS), ShapeError, r"maps: expected square maps .* got"),
        (lambda: flip_maps(MAPS, FLIPS[:, 1:]), ShapeError, r"flips: .* with B=2, 3=3, got \(2, 2"),
        (lambda: unflip_maps(MAPS[:, :, 1:], FLIPS), ShapeError, "maps: expected square maps"),
        (lambda: crop_maps(MAPS[0], BOX, (2, 2)), ShapeError, r"maps: expected shape \(B, K, h, w"),
        (lambda: crop_maps(MAPS[..., :0], BOX, (2, 2)), ShapeError, "maps: expected at least one"),
        (lambda: crop_maps(MAPS.int(), BOX, (2, 2)), TypeError, "maps: expected a floating-point"),
        (lambda: crop_maps(MAPS, BOX[:1], (2, 2)), ShapeError, r"box: .* with B=2, 4=4, got \(1"),
        (lambda: crop_maps(MAPS, BOX.float(), (2, 2)), TypeError, "box: expected an integer"),
        (lambda: crop_maps(MAPS, BOX, (0, 2)), ValueError, "size: expected two positive integers"),
        (lambda: crop_maps(MAPS, BOX, 2), TypeError, "size: expected two integers"),  # type: ignore[arg-type]
        (
            lambda: crop_maps(MAPS, BOX + torch.tensor([0, 3, 0, 0]), (2, 2)),
            ValueError,
            r"box: expected 0 <= top < bottom <= height .* maps 4 x 4, got \[0, 5, 0, 2\]",
        ),
        (
            lambda: crop_maps(MAPS, BOX + torch.tensor([0, 0, 2, 0]), (2, 2)),
            ValueError,
            r"0 <= left < right <= width of maps 4 x 4, got \[0, 2, 2, 2\]",
        ),
        (lambda: join_tiles(MAPS, (2, 2)), ShapeError, "tiles: expected a multiple of 2 x 2 pict"),
        (lambda: join_tiles(MAPS[0], (1, 1)), ShapeError, r"tiles: expected shape \(B, K, h, w\)"),
        (lambda: join_tiles(MAPS, (0, 1)), ValueError, "grid: expected two positive integers"),
        (lambda: split_tiles(MAPS, (3, 2)), ShapeError, "pictures: .* that 3 x 2 divide, got"),
        (lambda: split_tiles(MAPS[0], (1, 1)), ShapeError, "pictures: expected shape"),
        (lambda: split_tiles(MAPS, 2), TypeError, "grid: expected two integers"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
