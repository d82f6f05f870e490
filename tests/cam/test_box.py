"""Labels of padded crops: what lies outside the box is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.cam import cam_to_labels, keep_present
from fsr.data import RandomRescaleCrop
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]


def test_recorded_labels_of_toco_are_reproduced(parity: Parity) -> None:
    recorded = parity("systems/toco_box_label")
    cam, labels, box = (recorded[f"in_{name}"] for name in ("cam", "labels", "box"))
    low, high = recorded["arg_low"].item(), recorded["arg_high"].item()
    assert torch.equal(keep_present(cam, labels), recorded["out_valid_cam"])
    made = cam_to_labels(cam, labels, low=low, high=high, box=box)
    assert torch.equal(made, recorded["out_label"])
    # The released code takes no box with one threshold.
    made = cam_to_labels(cam, labels, threshold=recorded["arg_threshold"].item())
    assert torch.equal(made, recorded["out_label_threshold"])


def test_recorded_ties_are_reproduced(parity: Parity) -> None:
    recorded = parity("systems/toco_ties")
    cam, labels = recorded["in_cam"], recorded["in_labels"]
    low, high = recorded["arg_low"].item(), recorded["arg_high"].item()
    assert torch.equal(cam_to_labels(cam, labels, low=low, high=high), recorded["out_label"])
    made = cam_to_labels(cam, labels, threshold=recorded["arg_threshold"].item())
    assert torch.equal(made, recorded["out_label_threshold"])


@given(st.integers(0, 1000))
def test_inside_nothing_changes_and_outside_is_unknown(seed: int) -> None:
    torch.manual_seed(seed)
    cam, labels = torch.rand(2, 3, 8, 8), (torch.rand(2, 3) > 0.5).float()
    image = torch.ones(3, *torch.randint(1, 12, (2,)).tolist())
    box = torch.tensor([RandomRescaleCrop(8)(image).box for _ in range(2)])
    plain = cam_to_labels(cam, labels, low=0.3, high=0.6)
    boxed = cam_to_labels(cam, labels, low=0.3, high=0.6, box=box, ignore_index=77)
    for b in range(2):
        for y in range(8):
            for x in range(8):
                top, bottom, left, right = box[b].tolist()
                inside = top <= y < bottom and left <= x < right
                expected = plain[b, y, x].item() if inside else 77
                expected = 77 if expected == 255 else expected
                assert boxed[b, y, x] == expected


def test_a_box_of_one_pixel_and_of_all() -> None:
    cam, labels = torch.ones(2, 1, 3, 4), torch.ones(2, 1)
    box = torch.tensor([[0, 3, 0, 4], [2, 3, 1, 2]], dtype=torch.int32)
    made = cam_to_labels(cam, labels, threshold=0.5, box=box)
    assert (made[0] == 1).all()
    assert (made[1] == 1).nonzero().tolist() == [[2, 1]]
    assert (made[1] == 255).sum() == 11


def test_it_compiles_with_a_box() -> None:
    box = torch.tensor([[0, 3, 0, 4]])
    assert_compiles(cam_to_labels, torch.rand(1, 2, 3, 4), torch.ones(1, 2), threshold=0.5, box=box)


@pytest.mark.parametrize(
    ("box", "error", "message"),
    [
        (torch.zeros(2, 4).long(), ShapeError, r"box: expected shape \(B, 4\) with B=1, 4=4, got"),
        (torch.tensor([[0.0, 3.0, 0.0, 4.0]]), TypeError, "box: expected an integer tensor"),
        ([[0, 3, 0, 4]], TypeError, r"box: expected a tensor \(B, 4\), got list"),
        # top, left, height, width of the whole image, and x, y, x, y.
        (
            torch.tensor([[0, 0, 3, 4]]),
            ValueError,
            r"box: expected top, bottom, left, right with 0 <= top < bottom <= 3 and "
            r"0 <= left < right <= 4, got \[0, 0, 3, 4\] for image 0",
        ),
        (torch.tensor([[0, 2, 3, 2]]), ValueError, r"got \[0, 2, 3, 2\]"),
        (torch.tensor([[0, 4, 0, 3]]), ValueError, "box: .*bottom <= 3"),
        (torch.tensor([[0, 3, 0, 5]]), ValueError, "box: .*right <= 4"),
        (torch.tensor([[-1, 3, 0, 4]]), ValueError, r"got \[-1, 3, 0, 4\]"),
        (torch.tensor([[0, 3, -2, 4]]), ValueError, r"got \[0, 3, -2, 4\]"),
    ],
)
def test_a_bad_box_is_refused(box: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cam_to_labels(torch.ones(1, 1, 3, 4), torch.ones(1, 1), threshold=0.5, box=box)


def test_the_image_with_the_bad_box_is_named() -> None:
    box = torch.tensor([[0, 3, 0, 4], [0, 3, 0, 4], [3, 3, 0, 4]])
    with pytest.raises(ValueError, match="for image 2"):
        cam_to_labels(torch.ones(3, 1, 3, 4), torch.ones(3, 1), threshold=0.5, box=box)
