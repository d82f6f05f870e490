"""The window of patches and the labels of pairs, against the recorded ones and loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.affinity import affinity_labels, radius_mask
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]


def test_the_recorded_window_and_labels_of_afa(parity: Parity) -> None:
    recorded = parity("systems/afa_affinity_label")
    labels = recorded["in_token_labels"]
    mask = radius_mask(tuple(labels.shape[1:]), int(recorded["arg_radius"]))
    assert torch.equal(mask, recorded["out_mask"] > 0)
    assert torch.equal(affinity_labels(labels, mask), recorded["out_affinity_label"])
    assert torch.equal(affinity_labels(labels.flatten(1), mask), recorded["out_affinity_label"])


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 6))
def test_the_window_is_that_of_the_loops(height: int, width: int, radius: int) -> None:
    mask = radius_mask((height, width), radius)
    for i in range(height * width):
        for j in range(height * width):
            rows, columns = abs(i // width - j // width), abs(i % width - j % width)
            assert mask[i, j] == (max(rows, columns) <= radius)


@given(st.integers(0, 1000))
def test_labels_are_those_of_the_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, 2, 3), generator=generator)]
    mask = torch.rand(6, 6, generator=generator) > 0.3
    found, flat = affinity_labels(labels, mask), labels.flatten(1)
    assert found.dtype == torch.int64
    for b in range(2):
        for i in range(6):
            for j in range(6):
                one, other = int(flat[b, i]), int(flat[b, j])
                known = bool(mask[i, j]) and 255 not in (one, other)
                assert found[b, i, j] == (int(one == other) if known else 255)


def test_the_default_radius_is_eight() -> None:
    assert torch.equal(radius_mask((1, 20)), radius_mask((1, 20), 8))
    assert radius_mask((1, 20))[0].sum() == 9


def test_a_single_token_and_no_known_token() -> None:
    assert affinity_labels(torch.tensor([[7]])).tolist() == [[[1]]]
    assert affinity_labels(torch.full((1, 3), 255)).unique().tolist() == [255]
    assert radius_mask((1, 1), 0).tolist() == [[True]]


def test_labels_compile_and_follow_their_device(device: torch.device) -> None:
    labels = torch.tensor([[0, 1, 1, 255]], device=device)
    assert_compiles(affinity_labels, labels, radius_mask((2, 2), 1))
    assert affinity_labels(labels, radius_mask((2, 2), 1)).device.type == device.type
    assert radius_mask((2, 2), 1, device=device).device.type == device.type


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"grid": 4}, TypeError, r"grid: expected two integers \(height, width\), got 4"),
        ({"grid": (0, 4)}, ValueError, "grid: expected two positive integers"),
        ({"radius": 1.5}, TypeError, "radius: expected an integer of at least 0, got 1.5"),
        ({"radius": -1}, ValueError, "radius: expected an integer of at least 0, got -1"),
    ],
)
def test_a_bad_window_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        radius_mask(**({"grid": (2, 2)} | options))


@pytest.mark.parametrize(
    ("labels", "mask", "error", "message"),
    [
        ([[0]], None, TypeError, r"token_labels: expected a tensor \(B, H, W\) .* got list"),
        (torch.zeros(4).long(), None, ShapeError, r"token_labels: expected .*got \(4,\)"),
        (torch.zeros(1, 4), None, TypeError, "token_labels: expected an integer tensor"),
        (torch.zeros(1, 4).long(), torch.ones(5, 5).bool(), ShapeError, "mask: .*N=4, M=4"),
        (
            torch.zeros(1, 4).long(),
            torch.ones(4, 4),
            TypeError,
            r"mask: expected a boolean tensor \(True = near\), got torch.float32",
        ),
    ],
)
def test_bad_labels_are_refused_by_name(
    labels: Any, mask: Tensor | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        affinity_labels(labels, mask)
