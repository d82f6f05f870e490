"""Labels between two backgrounds, and refinement in a box: recorded arrays, loops and promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.refine import PAR, labels_between, refine_in_box
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]
BOX = torch.tensor([[1, 7, 0, 8], [0, 9, 3, 4]])

# -- labels ---------------------------------------------------------------------------------------


def test_the_recorded_labels_of_all_pairs_of_winners(parity: Parity) -> None:
    recorded = parity("systems/afa_labels_between")
    made = labels_between(recorded["in_low_maps"], recorded["in_high_maps"], recorded["in_box"])
    assert torch.equal(made, recorded["out_label"])


def test_the_recorded_labels_of_afa_from_the_recorded_maps(parity: Parity) -> None:
    recorded = parity("systems/afa_refined_label")
    low, high = recorded["out_refined_low"], recorded["out_refined_high"]
    assert torch.equal(labels_between(low, high, recorded["in_box"]), recorded["out_label"])


def first_largest(values: list[float]) -> int:
    return values.index(max(values))


@given(st.integers(0, 1000))
def test_labels_are_those_of_the_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.randint(0, 4, (2, 2, 3, 9, 8), generator=generator).float()
    found = labels_between(low, high, BOX)
    for b, (top, bottom, left, right) in enumerate(BOX.tolist()):
        for y in range(9):
            for x in range(8):
                one, other = (first_largest(maps[b, :, y, x].tolist()) for maps in (low, high))
                expected = other if other or not one else 255
                if not (top <= y < bottom and left <= x < right):
                    expected = 255
                assert found[b, y, x] == expected
    whole = labels_between(low, high)
    assert torch.equal(found, whole.masked_fill(labels_between(0 * low, 0 * low, BOX) > 0, 255))


def test_a_tie_goes_to_the_background() -> None:
    flat = torch.full((1, 4, 2, 2), 0.3)
    assert labels_between(flat, flat).unique().tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"low_maps": torch.zeros(3, 4, 4)}, ShapeError, r"low_maps: expected shape \(B, C"),
        ({"high_maps": torch.zeros(1, 3, 4, 5)}, ShapeError, "high_maps: .*C=3, H=4, W=4"),
        ({"low_maps": torch.zeros(1, 3, 4, 4).long()}, TypeError, "low_maps: .*floating"),
        ({"high_maps": torch.zeros(1, 3, 4, 4).long()}, TypeError, "high_maps: .*floating"),
        ({"box": torch.tensor([[0, 0, 4, 4]])}, ValueError, r"box: .*got \[0, 0, 4, 4\] for"),
    ],
)
def test_bad_maps_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    maps = torch.zeros(1, 3, 4, 4)
    with pytest.raises(error, match=message):
        labels_between(**({"low_maps": maps, "high_maps": maps} | changes))


def test_labels_compile() -> None:
    low, high = torch.rand(2, 2, 3, 9, 8)
    assert_compiles(labels_between, low, high, BOX)


# -- refinement in a box --------------------------------------------------------------------------


def test_the_recorded_refinement_of_afa_is_reproduced(parity: Parity) -> None:
    recorded = parity("systems/afa_refined_label")
    refined = []
    for level in ("low", "high"):
        maps = refine_in_box(
            PAR(),
            recorded["in_images"],
            recorded[f"in_maps_{level}"],
            recorded["in_labels"],
            recorded["in_box"],
        )
        expected = recorded[f"out_refined_{level}"]
        reach = expected.abs().max().item()
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5 * reach)
        refined.append(maps)
    made = labels_between(refined[0], refined[1], recorded["in_box"])
    assert (made == recorded["out_label"]).float().mean() >= 0.999


def case() -> tuple[PAR, Tensor, Tensor, Tensor]:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    return PAR(2, (1, 2)), torch.rand(2, 3, 9, 8), torch.rand(2, 4, 9, 8), labels


@pytest.mark.parametrize("scale", [1, 2])
def test_each_channel_is_refined_alone_and_padding_does_not_count(scale: int) -> None:
    par, images, maps, labels = case()
    refined = refine_in_box(par, images, maps, labels, BOX, down_scale=scale)
    for b, (top, bottom, left, right) in enumerate(BOX.tolist()):
        part = images[b : b + 1, :, top:bottom, left:right]
        size = (max(1, (bottom - top) // scale), max(1, (right - left) // scale))
        expected = torch.zeros(4, 9, 8)
        for c in range(4):
            if c == 0 or labels[b, c - 1] > 0:
                mask = par(
                    F.interpolate(part, size, mode="bilinear"),
                    maps[b : b + 1, c : c + 1, top:bottom, left:right],
                )
                grown = F.interpolate(mask, part.shape[2:], mode="bilinear")
                expected[c, top:bottom, left:right] = grown[0, 0]
        torch.testing.assert_close(refined[b], expected)
    changed = images.masked_fill(refined[:, :1] == 0, 0.7)
    assert torch.equal(refine_in_box(par, changed, maps, labels, BOX, down_scale=scale), refined)


def test_without_a_box_it_is_the_whole_image() -> None:
    par, images, maps, labels = case()
    whole = torch.tensor([[0, 9, 0, 8]]).expand(2, 4)
    assert torch.equal(
        refine_in_box(par, images, maps, labels), refine_in_box(par, images, maps, labels, whole)
    )


def test_no_gradient_is_recorded_and_half_precision_is_computed_in_float32() -> None:
    par, images, maps, labels = case()
    half = refine_in_box(par, images.bfloat16(), maps.bfloat16().requires_grad_(), labels)
    assert not half.requires_grad
    assert half.dtype == torch.float32
    expected = refine_in_box(par, images.bfloat16().float(), maps.bfloat16().float(), labels)
    assert torch.equal(half, expected)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(1, 1, 4, 4)}, ShapeError, "images: expected shape"),
        ({"maps": torch.zeros(1, 3, 4, 5)}, ShapeError, "maps: .*H=4, W=4"),
        ({"maps": torch.zeros(1, 1, 4, 4)}, ShapeError, "maps: .*background and a class .*got 1"),
        ({"labels": torch.zeros(1, 3)}, ShapeError, "labels: .*C=2"),
        ({"images": torch.zeros(1, 3, 4, 4).long()}, TypeError, "images: expected a floating"),
        ({"maps": torch.zeros(1, 3, 4, 4).long()}, TypeError, "maps: expected a floating"),
        ({"down_scale": 0}, ValueError, "down_scale: expected a positive integer, got 0"),
        ({"box": torch.tensor([[0, 5, 0, 4]])}, ValueError, "box: .*bottom <= 4"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"images": torch.zeros(1, 3, 4, 4), "maps": torch.zeros(1, 3, 4, 4)}
    good |= {"labels": torch.ones(1, 2), "par": lambda images, masks: masks}
    with pytest.raises(error, match=message):
        refine_in_box(**(good | changes))
