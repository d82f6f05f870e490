"""The lattice filter against explicit sums, and against lattices put together point by point."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.filters import PermutohedralLattice


def exact(features: Tensor, values: Tensor) -> Tensor:
    """Sum over all pairs in float64."""
    distances = torch.cdist(features.double(), features.double())
    return torch.exp(-distances.square() / 2) @ values.double()


def by_hand(features: list[list[float]], values: list[float]) -> list[float]:
    """Filter with a dictionary of corners, by the definition of the lattice, point by point."""
    width = len(features[0])
    grid: dict[tuple[int, ...], float] = defaultdict(float)
    cells = [cell(point) for point in features]
    for weights, value in zip(cells, values, strict=True):
        for corner, weight in weights.items():
            grid[corner] += weight * value
    for axis in range(width + 1):
        step = [-1] * (width + 1)
        step[axis] = width
        blurred = {}
        for corner, value in grid.items():
            sides = [
                tuple(c + sign * s for c, s in zip(corner, step, strict=True)) for sign in (-1, 1)
            ]
            blurred[corner] = value + sum(grid.get(side, 0.0) for side in sides) / 2
        grid = defaultdict(float, blurred)
    scale = (2 * math.pi / 1.5) ** (width / 2) * math.sqrt(width + 1) / 2 ** (width + 1)
    return [scale * sum(w * grid[corner] for corner, w in weights.items()) for weights in cells]


def cell(point: list[float]) -> dict[tuple[int, ...], float]:
    """Return the corners around a point with its weights: the only ones whose mean it is.

    Corners of a cell are a first one, whose coordinates are multiples of F + 1, and what is reached
    from there by adding the steps of all axes but one, in some order.
    """
    width = len(point)
    lifted = [0.0] * (width + 1)
    for axis, value in enumerate(point):
        scaled = value * (width + 1) * math.sqrt(2 / 3) / math.sqrt((axis + 1) * (axis + 2))
        for place in range(axis + 1):
            lifted[place] += scaled
        lifted[axis + 1] -= (axis + 1) * scaled
    near = [[math.floor(x / (width + 1)), math.ceil(x / (width + 1))] for x in lifted]
    for first in grids(near):
        if sum(first):
            continue
        start = [(width + 1) * c for c in first]
        rest = [x - s for x, s in zip(lifted, start, strict=True)]
        for order in permutations(range(width + 1)):
            ranked = [rest[axis] for axis in order]
            weights = [1 - (ranked[0] - ranked[-1]) / (width + 1)]
            weights += [(ranked[k] - ranked[k + 1]) / (width + 1) for k in range(width)][::-1]
            if min(weights) < -1e-9:
                continue
            corners = []
            for remainder in range(width + 1):
                corner = list(start)
                for rank, axis in enumerate(order):
                    corner[axis] += (
                        remainder if rank <= width - remainder else remainder - width - 1
                    )
                corners.append(tuple(corner))
            return dict(zip(corners, weights, strict=True))
    raise AssertionError(f"no cell holds {point}")


def grids(near: list[list[int]]) -> list[list[int]]:
    """Return all ways to round coordinates down or up."""
    found: list[list[int]] = [[]]
    for sides in near:
        found = [[*part, side] for part in found for side in dict.fromkeys(sides)]
    return found


@pytest.mark.parametrize("width", [1, 2, 3])
def test_it_is_the_lattice_put_together_by_hand(width: int) -> None:
    draw = torch.Generator().manual_seed(width)
    features = 3 * torch.rand(40, width, generator=draw, dtype=torch.float64)
    values = torch.rand(40, 1, generator=draw, dtype=torch.float64)
    expected = by_hand(features.tolist(), values[:, 0].tolist())
    found = PermutohedralLattice(features)(values)[:, 0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_it_is_near_the_exact_sum_where_points_are_many(width: int, device: torch.device) -> None:
    features = 3 * torch.rand(3000, width)
    values = torch.rand(3000, 2)
    lattice = PermutohedralLattice(features.to(device))
    found = lattice(values.to(device)).cpu().double()
    ratio = found / exact(features, values)
    assert abs(ratio.mean() - 1) < 0.08
    assert ratio.std() < 0.06
    assert 0 < lattice.size < 3000


@given(st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 50.0), st.integers(0, 999))
def test_any_points_are_filtered_linearly_by_weights_of_at_least_0(
    width: int, count: int, spread: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    features = spread * torch.randn(count, width, generator=draw, dtype=torch.float64)
    lattice = PermutohedralLattice(features)
    kernel = lattice(torch.eye(count, dtype=torch.float64))
    assert kernel.isfinite().all()
    assert (kernel >= -1e-9).all()
    assert (kernel.diagonal() > 0).all()
    values = torch.randn(count, 3, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(lattice(values), kernel @ values)
    assert 1 <= lattice.size <= count * (width + 1)


def test_far_points_do_not_hear_each_other_and_equal_ones_hear_the_same() -> None:
    features = torch.tensor([[0.0, 0.0], [0.0, 0.0], [100.0, 0.0]])
    kernel = PermutohedralLattice(features)(torch.eye(3))
    torch.testing.assert_close(kernel[0], kernel[1])
    assert kernel[0, 2] == kernel[2, 0] == 0
    assert 0.5 < kernel[0, 1] < 1.2


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_lone_point_hears_itself_with_about_its_weight(width: int) -> None:
    places = 9 * torch.rand(100, 1, width, dtype=torch.float64)
    heard = [PermutohedralLattice(place)(torch.ones(1, 1).double()).item() for place in places]
    assert 0.5 < min(heard) < max(heard) < 1.2


def test_the_same_every_time_in_the_type_of_the_values() -> None:
    features = torch.rand(500, 5) * 4
    values = torch.rand(500, 7)
    lattice = PermutohedralLattice(features)
    assert torch.equal(lattice(values), PermutohedralLattice(features)(values))
    assert lattice(values.double()).dtype == torch.float64
    assert lattice(values.bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lattice(values), PermutohedralLattice(features)(values))


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match="features: expected shape"):
        PermutohedralLattice(torch.zeros(3))
    with pytest.raises(TypeError, match="features: expected"):
        PermutohedralLattice(torch.zeros(3, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="features: expected finite values"):
        PermutohedralLattice(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match=r"features: expected at most .* give a wider kernel"):
        PermutohedralLattice(1e6 * torch.randn(50, 5, dtype=torch.float64))
    far = torch.rand(50, 1) + 1e6
    with pytest.raises(ValueError, match=r"features: .* torch.float32 tells apart .* subtract"):
        PermutohedralLattice(far)
    near = PermutohedralLattice(far.double() - 1e6)(torch.ones(50, 1))
    torch.testing.assert_close(
        PermutohedralLattice(far.double())(torch.ones(50, 1)), near, rtol=0.2, atol=0
    )
    with pytest.raises(ShapeError, match="values: expected shape"):
        PermutohedralLattice(torch.zeros(3, 2))(torch.zeros(2, 1))
