"""Distances to boundaries, and scores near them, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from fsr.errors import ShapeError
from fsr.metrics import SegmentationMetrics, TrimapMetrics, boundary_distance


def blobs(seed: int, height: int, width: int, labels: int) -> Tensor:
    """Return a label map with regions, some of it ignored."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, labels + 1, (height // 3 + 1, width // 3 + 1), generator=generator)
    coarse[coarse == labels] = 255
    return coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]


def distance_by_loops(target: Tensor, limit: int) -> Tensor:
    """The definition, over all pairs of pixels."""
    labels, (height, width) = target.tolist(), target.shape
    result = [[math.inf] * width for _ in range(height)]
    places = [(y, x) for y in range(height) for x in range(width)]
    for y, x in places:
        for v, u in places:
            if labels[y][x] != labels[v][u] and (length := math.hypot(y - v, x - u)) <= limit:
                result[y][x] = min(result[y][x], length)
    return torch.tensor(result)


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    limit=st.integers(1, 9),
)
def test_distances_are_those_of_the_definition(
    seed: int, height: int, width: int, limit: int
) -> None:
    target = blobs(seed, height, width, 2)
    found = boundary_distance(target, limit)
    torch.testing.assert_close(found, distance_by_loops(target, limit))


def test_distances_agree_with_an_exact_distance_transform() -> None:
    target = blobs(0, 60, 75, 3)
    wanted = np.zeros(target.shape)
    for label in target.unique():
        inside = (target == label).numpy()
        wanted[inside] = ndimage.distance_transform_edt(inside)[inside]
    found = boundary_distance(target, 10).numpy()
    near = wanted <= 10
    np.testing.assert_allclose(found[near], wanted[near], rtol=1e-6)
    assert np.isinf(found[~near]).all()


def test_a_map_of_one_label_has_no_boundary() -> None:
    assert boundary_distance(torch.zeros(4, 5, dtype=torch.long), 20).isinf().all()
    trimap = TrimapMetrics(2, (1, 5))
    trimap.update(torch.ones(4, 5, dtype=torch.long), torch.zeros(4, 5, dtype=torch.long))
    assert all(math.isnan(score) for score in trimap.compute().values())


@given(seed=st.integers(0, 1000))
def test_scores_are_those_of_the_pixels_in_the_band(seed: int) -> None:
    target = torch.stack([blobs(seed, 13, 11, 3), blobs(seed + 1, 13, 11, 3)])
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, 3, target.shape, generator=generator)
    widths = (3, 1, 7)
    trimap = TrimapMetrics(2, widths)
    trimap.update(prediction, target)
    assert list(trimap.compute()) == [1, 3, 7]
    distances = torch.stack([distance_by_loops(one, max(widths)) for one in target])
    for width in widths:
        near = distances <= width
        metrics = SegmentationMetrics(2)
        metrics.update(prediction, target.masked_fill(~near, 255))
        assert trimap.compute()[width] == pytest.approx(metrics.compute().miou, nan_ok=True)


def test_one_map_and_a_batch_of_it_count_the_same() -> None:
    target, prediction = blobs(0, 9, 9, 2), blobs(1, 9, 9, 2) % 2
    one, batch, both = (TrimapMetrics(1) for _ in range(3))
    one.update(prediction, target % 2)
    batch.update(prediction[None], target[None] % 2)
    assert torch.equal(one.counts, batch.counts)
    both.merge(one)
    both.merge(batch)
    assert torch.equal(both.counts, 2 * one.counts)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, (1,)), ValueError, "num_classes"),
        ((1, ()), ValueError, "widths: expected at least one number, got none"),
        ((1, (0,)), ValueError, "widths"),
        ((1, (1.5,)), TypeError, "widths"),
        ((1, (2, 2)), ValueError, r"widths: expected each once, got \(2, 2\)"),
    ],
)
def test_bad_options_are_refused(
    arguments: tuple[int, tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TrimapMetrics(*arguments)


def test_bad_maps_are_refused() -> None:
    trimap = TrimapMetrics(1, (1,))
    good = torch.zeros(3, 3, dtype=torch.long)
    with pytest.raises(ShapeError, match="target"):
        trimap.update(good.flatten(), good.flatten())
    with pytest.raises(ValueError, match="expected"):
        trimap.update(good, good[:2])
    with pytest.raises(ValueError, match="prediction"):
        trimap.update(good + 2, good)
    with pytest.raises(ShapeError, match="target"):
        boundary_distance(good[None], 3)
    with pytest.raises(ValueError, match="limit"):
        boundary_distance(good, 0)
    with pytest.raises(TypeError, match="limit"):
        boundary_distance(good, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="widths"):
        trimap.merge(TrimapMetrics(1, (2,)))
    assert trimap.counts.sum() == 0
