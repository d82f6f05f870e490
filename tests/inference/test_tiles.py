"""Large images by tiles: where tiles are, how they are blended, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fsr.inference import PredictionOptions, predict_paths
from fsr.inference._mosaic import Mosaic
from fsr.inference._tiling import Tiling, plan_tiles, ramps
from fsr.segmenter import SingleStageSegmenter
from tests.cli.helpers import noise, tiny_network, write_images
from tests.helpers import assert_same

ONCE: dict[str, Any] = {"scales": (1.0,), "flip": False}


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return tiny_network(("cat", "dog", "cow"))


# -- where tiles are ------------------------------------------------------------------------------

plans = st.tuples(
    st.integers(1, 160), st.integers(1, 160), st.integers(8, 48), st.integers(0, 24)
).filter(lambda plan: max(plan[:2]) > plan[2] and plan[3] <= plan[2] // 2)


@given(plans)
def test_tiles_cover_an_image_and_overlap_as_asked(plan: tuple[int, int, int, int]) -> None:
    height, width, tile, overlap = plan
    tiling = plan_tiles((height, width), tile, overlap, (8, 8))
    assert tiling is not None
    count = torch.zeros(height, width)
    for rows, columns in tiling.boxes():
        count[rows, columns] += 1
    assert count.min() >= 1
    for length, side, starts in zip(
        tiling.size, tiling.side, (tiling.tops, tiling.lefts), strict=True
    ):
        assert side <= min(tile, length)
        assert (starts[0], starts[-1] + side) == (0, length)
        for before, after in pairwise(starts):
            assert before + side - after >= overlap
        # No pixel of an axis has a weight of its own: over all tiles it counts once.
        total = torch.zeros(length)
        for weights, start in zip(ramps(length, side, starts), starts, strict=True):
            assert weights.min() > 0
            total[start : start + side] += weights
        assert_same(total, torch.ones(length), rtol=1e-6, atol=1e-6)


def test_there_are_no_more_tiles_than_needed_and_their_patches_are_the_images() -> None:
    tiling = plan_tiles((10_000, 10_000), 1024, 256, (16, 16))
    assert tiling is not None
    assert len(tiling.tops) == 13  # (10000 - 256) / 768, rounded up
    assert tiling.side == (1008, 1008)
    assert all(top % 16 == 0 for top in tiling.tops)


# -- how they are put together --------------------------------------------------------------------


@given(plans, st.integers(0, 99))
def test_maps_that_know_only_their_pixel_come_out_as_without_tiles(
    plan: tuple[int, int, int, int], seed: int
) -> None:
    height, width, tile, overlap = plan
    draw = torch.Generator().manual_seed(seed)
    whole = torch.rand(3, height, width, generator=draw).softmax(dim=0)
    tiling = plan_tiles((height, width), tile, overlap, (8, 8))
    assert tiling is not None
    mosaic = Mosaic(tiling, 3, keep=True)
    for rows, columns in tiling.boxes():
        assert not mosaic.complete
        mosaic.add(whole[:, rows, columns])
    assert mosaic.complete
    assert_same(mosaic.probabilities, whole, rtol=1e-5, atol=1e-6)
    assert_same(mosaic.labels, mosaic.probabilities.argmax(dim=0))


def test_little_more_than_the_label_map_is_held() -> None:
    tiling = plan_tiles((320, 320), 32, 8, (8, 8))
    assert tiling is not None
    mosaic = Mosaic(tiling, 21, keep=False)
    for rows, columns in tiling.boxes():
        mosaic.add(torch.rand(21, rows.stop - rows.start, columns.stop - columns.start))
    held = [value for value in vars(mosaic).values() if isinstance(value, Tensor)]
    # All probabilities would be 21 * 320 * 320; a strip below a row of tiles is a 20th of it.
    assert sum(value.numel() for value in held) < 320 * 320 + 21 * 320 * 320 / 15


def test_weights_fall_towards_the_end_of_a_tile() -> None:
    mosaic = Mosaic(Tiling((1, 12), (1, 8), (0,), (0, 4)), 2, keep=True)
    for certain in (0.0, 1.0):
        mosaic.add(torch.tensor([1 - certain, certain]).view(2, 1, 1).expand(2, 1, 8))
    assert mosaic.probabilities is not None
    expected = [0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1]
    assert_same(mosaic.probabilities[1, 0], torch.tensor(expected))


# -- predictions ----------------------------------------------------------------------------------


def predict(model: SingleStageSegmenter, path: Path, **options: Any) -> Any:
    (result,) = predict_paths(model, path, **{**ONCE, **options})
    assert result.error is None
    return result


def test_images_within_a_tile_are_seen_whole(model: SingleStageSegmenter, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, [(50, 64)])
    expected = predict(model, path, probabilities=True)
    assert_same(predict(model, path, probabilities=True, tile=64)[2:4], expected[2:4])


def test_a_tile_of_a_larger_image_is_what_the_network_makes_of_it(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    noise(64, 112).save(tmp_path / "whole.png")
    result = predict(model, tmp_path / "whole.png", probabilities=True, tile=64, tile_overlap=16)
    assert result.labels.shape == (64, 112)
    assert result.labels.dtype == torch.int64
    assert_same(result.labels, result.probabilities.argmax(dim=0))
    parts = []
    for left in (0, 48):
        noise(64, 112).crop((left, 0, left + 64, 64)).save(tmp_path / "part.png")
        parts.append(predict(model, tmp_path / "part.png", probabilities=True).probabilities)
    assert_same(result.probabilities[:, :, :48], parts[0][:, :, :48], rtol=1e-5, atol=1e-6)
    assert_same(result.probabilities[:, :, 64:], parts[1][:, :, 16:], rtol=1e-5, atol=1e-6)
    ramp = (torch.arange(16) + 0.5) / 16
    blended = parts[0][:, :, 48:] * (1 - ramp) + parts[1][:, :, :16] * ramp
    assert_same(result.probabilities[:, :, 48:64], blended, rtol=1e-5, atol=1e-6)


def test_no_seam_is_left_where_tiles_meet(tmp_path: Path) -> None:
    # A picture without edges, and a network that is sure of nothing: what jumps from one pixel to
    # the next is the tiles'.
    model = tiny_network(("cat", "dog", "cow"))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(0.1)
    across = np.tile(np.linspace(40, 210, 144), (96, 1))
    pixels = np.dstack([across, across[:, ::-1], np.full((96, 144), 90)])
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png")

    def jump(**options: Any) -> tuple[float, Tensor]:
        maps = predict(model, tmp_path / "a.png", probabilities=True, **options).probabilities
        return float(max(maps.diff(dim=axis).abs().max() for axis in (1, 2))), maps

    untiled, whole = jump()
    cut, hard = jump(tile=64, tile_overlap=0)
    blended, soft = jump(tile=64)
    assert cut > 5 * untiled
    assert blended < untiled
    # Blending brings the result nearer to what the network makes of the whole picture, too.
    assert (soft - whole).abs().mean() < 0.95 * (hard - whole).abs().mean()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_tiles_share_batches_and_images_of_all_sizes_go_together(
    model: SingleStageSegmenter, tmp_path: Path, batch_size: int
) -> None:
    write_images(tmp_path, [(100, 90), (40, 40), (5, 200), (40, 40), (70, 64)])
    (tmp_path / "02b.png").write_text("no image")
    options: dict[str, Any] = {"tile": 64, "tile_overlap": 16, "probabilities": True, **ONCE}
    told: list[tuple[int, int]] = []
    results = list(
        predict_paths(
            model,
            tmp_path,
            batch_size=batch_size,
            progress=lambda done, total: told.append((done, total)),
            **options,
        )
    )
    assert told == [(number, 6) for number in range(1, 7)]  # images, not tiles
    by_name = {result.name: result for result in results}
    assert by_name.pop("02b").error is not None
    for name, result in by_name.items():
        alone = predict(model, tmp_path / f"{name}.png", **options)
        assert_same(result.probabilities, alone.probabilities, rtol=1e-4, atol=1e-6)
        assert result.labels.shape == Image.open(tmp_path / f"{name}.png").size[::-1]


def test_known_labels_hold_in_every_tile(model: SingleStageSegmenter, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, [(100, 90)])
    result = predict(model, path, tile=64, labels={"00": ["dog"]})
    assert set(result.labels.unique().tolist()) == {0, 2}


class Pool:
    """A dense CRF that works ahead, as a pool of processes does."""

    def __init__(self, crf: Any) -> None:
        self.crf = crf

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterable[Any]:
        return (self.crf(*pair) for pair in pairs)


@pytest.mark.parametrize("wrap", [lambda crf: crf, Pool])
def test_a_dense_crf_gets_tile_by_tile(
    model: SingleStageSegmenter, tmp_path: Path, wrap: Any
) -> None:
    (path, other) = write_images(tmp_path, [(64, 112), (30, 30)])
    seen = []

    def crf(image: Tensor, maps: Tensor) -> Tensor:
        seen.append((tuple(image.shape), tuple(maps.shape)))
        return maps.flip(0)

    options: dict[str, Any] = {"tile": 64, "tile_overlap": 16, "probabilities": True}
    plain = predict(model, path, **options).probabilities
    results = list(predict_paths(model, [path, other], crf=wrap(crf), **options, **ONCE))
    assert seen == [((64, 64, 3), (4, 64, 64))] * 2 + [((30, 30, 3), (4, 30, 30))]
    assert_same(results[0].probabilities, plain.flip(0), rtol=1e-5, atol=1e-6)
    assert results[1].labels.shape == (30, 30)


def test_an_image_whose_tile_is_refused_is_named_once_and_the_rest_goes_on(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, [(64, 200), (64, 112)])
    calls = []

    def crf(image: Tensor, maps: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("too flat")
        return maps

    results = list(predict_paths(model, paths, crf=crf, tile=64, tile_overlap=16, **ONCE))
    assert [result.error is None for result in results] == [False, True]
    assert results[0].error == f"{paths[0]}: dense CRF: ValueError: too flat"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tile": 7}, ValueError, r"tile: expected at least a patch of \(8, 8\) pixels, got 7"),
        ({"tile": 0}, ValueError, "tile: expected"),
        ({"tile": 64.0}, TypeError, "tile: expected"),
        ({"tile_overlap": 8}, ValueError, "tile_overlap: expected None without tile, got 8"),
        ({"tile": 64, "tile_overlap": 33}, ValueError, "expected 0 to half of the tile of 64"),
        ({"tile": 64, "tile_overlap": -1}, ValueError, "expected 0 to half of the tile of 64"),
        ({"tile": 64, "tile_overlap": 8.0}, TypeError, "tile_overlap: expected an integer"),
        ({"tile": 64, "max_size": 512}, ValueError, "max_size: expected None with tile, got 512"),
    ],
)
def test_tiles_that_cannot_be_are_refused(
    model: SingleStageSegmenter, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        predict_paths(model, "none.png", **options)


def test_max_size_of_none_and_its_default_go_with_tiles() -> None:
    assert PredictionOptions(tile=64, max_size=None).tile == 64
    assert PredictionOptions(tile=64).max_size == 1024
