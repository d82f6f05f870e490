"""Pseudo labels of padded crops: what lies outside the box is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fsr.errors import ShapeError
from fsr.refine import PAR, pseudo_labels
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]
OPTIONS: dict[str, Any] = {"low": 0.3, "high": 0.6}
BOX = torch.tensor([[1, 7, 0, 12], [0, 9, 3, 4]])


def case() -> tuple[PAR, Tensor, Tensor, Tensor]:
    return PAR(2, (1, 2)), torch.rand(2, 3, 9, 12), torch.rand(2, 4, 9, 12), torch.ones(2, 4)


def test_recorded_labels_of_toco_are_reproduced(parity: Parity) -> None:
    recorded = parity("systems/toco_refined_label")
    made = pseudo_labels(
        PAR(),
        recorded["in_images"] / 255,
        recorded["in_cam"],
        recorded["in_labels"],
        low=recorded["arg_low"].item(),
        high=recorded["arg_high"].item(),
        down_scale=int(recorded["arg_down_scale"]),
        box=recorded["in_box"],
    )
    assert torch.equal(made, recorded["out_label"].long())


def test_inside_nothing_changes_and_outside_is_unknown() -> None:
    inputs = case()
    plain = pseudo_labels(*inputs, **OPTIONS)
    boxed = pseudo_labels(*inputs, **OPTIONS, box=BOX, ignore_index=77)
    for b, (top, bottom, left, right) in enumerate(BOX.tolist()):
        expected = torch.full((9, 12), 77)
        expected[top:bottom, left:right] = plain[b, top:bottom, left:right]
        assert torch.equal(boxed[b], expected.masked_fill(expected == 255, 77))
    assert (boxed != 77).any()


def test_it_compiles_with_a_box() -> None:
    assert_compiles(pseudo_labels, PAR(1, (1,)), *case()[1:], **OPTIONS, box=BOX)


@pytest.mark.parametrize(
    ("box", "error", "message"),
    [
        (torch.zeros(1, 4).long(), ShapeError, "box: .*B=2"),
        (torch.ones(2, 4), TypeError, "box: expected an integer tensor"),
        (torch.tensor([[0, 9, 0, 12], [0, 0, 9, 12]]), ValueError, r"got \[0, 0, 9, 12\] for .* 1"),
    ],
)
def test_a_bad_box_is_refused(box: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pseudo_labels(*case(), **OPTIONS, box=box)
