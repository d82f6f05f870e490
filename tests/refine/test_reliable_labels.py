"""Reliable regions of a batch: each image by itself, with its own CRFs inside its box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import ShapeError
from fsr.refine import (
    CRFPool,
    DenseCRF,
    cam_with_background,
    reliable_labels,
    reliable_region,
)


class Recorded:
    """Stands in for a CRF: brightens towards the stronger maps, and keeps what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def __call__(self, image: NDArray[Any], maps: NDArray[Any]) -> Tensor:
        self.calls.append((image, maps))
        return self.refine(torch.from_numpy(maps))

    @staticmethod
    def refine(maps: Tensor) -> Tensor:
        return (8 * maps).softmax(dim=0)


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three images, of which the last shows nothing."""
    images = torch.rand(3, 3, 8, 9)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    box = torch.tensor([[0, 8, 0, 9], [2, 7, 1, 6], [1, 8, 0, 9]])
    return images, torch.rand(3, 3, 8, 9) ** 3, labels, box


def test_it_is_the_region_of_each_image_within_its_box() -> None:
    images, cam, labels, box = case()
    crf = Recorded()
    found = reliable_labels(CRFPool(crf, 0), images, cam, labels, box)

    expected = torch.full((3, 8, 9), 255)
    for index, (top, bottom, left, right) in enumerate(box.tolist()[:2]):
        part = (..., slice(top, bottom), slice(left, right))
        own, present = cam[index][part], labels[index] > 0
        maps = []
        for power in (4, 32):
            refined = Recorded.refine(
                cam_with_background(own[present], torch.ones(int(present.sum())), power)
            )
            whole = torch.zeros(4, *refined.shape[1:])
            whole[0], whole[1:][present] = refined[0], refined[1:]
            maps.append(whole)
        expected[index][part] = reliable_region(own, labels[index], *maps)
    expected[2, 1:8] = 0
    assert torch.equal(found, expected)
    assert {0, 255} < set(found[:2].flatten().tolist())


def test_the_crf_sees_real_pixels_and_present_classes_alone() -> None:
    images, cam, labels, box = case()
    crf = Recorded()
    reliable_labels(CRFPool(crf, 0), images, cam, labels, box)
    # Two of each image that shows something, with a small and with a large exponent.
    assert [call[1].shape for call in crf.calls] == [(3, 8, 9), (3, 8, 9), (2, 5, 5), (2, 5, 5)]
    pixels = (255 * images[1]).round().to(torch.uint8).permute(1, 2, 0)[2:7, 1:6]
    assert all(np.array_equal(call[0], pixels) for call in crf.calls[2:])
    background = (1 - cam[1, 1, 2:7, 1:6]).numpy()
    np.testing.assert_allclose(crf.calls[2][1][0], background**4, rtol=1e-5)
    np.testing.assert_allclose(crf.calls[3][1][0], background**32, rtol=1e-4)


def test_without_a_box_all_pixels_are_real() -> None:
    images, cam, labels, _ = case()
    whole = torch.tensor([[0, 8, 0, 9]] * 3)
    pool = CRFPool(Recorded(), 0)
    found = reliable_labels(pool, images, cam, labels)
    assert torch.equal(found, reliable_labels(pool, images, cam, labels, whole))
    assert (found[2] == 0).all()


def test_with_the_dense_crf_a_bright_square_is_found() -> None:
    pytest.importorskip("pydensecrf")
    image = torch.zeros(1, 3, 32, 32)
    image[:, :, 8:24, 8:24] = 1.0
    cam = torch.zeros(1, 2, 32, 32)
    # Graded, as no value is above the rank of a flat map.
    cam[0, 1, 8:24, 8:24] = torch.linspace(0.8, 1.0, 16)
    found = reliable_labels(CRFPool(DenseCRF("rrm"), 0), image, cam, torch.tensor([[0.0, 1.0]]))
    assert set(found.flatten().tolist()) == {0, 2, 255}
    assert (found[0, 8:24, 8:24][:, -5:] == 2).all()
    assert (found[0, :4] == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.zeros(3, 3, 8, 8)}, ShapeError, "images"),
        ({"labels": torch.zeros(3, 4)}, ShapeError, "labels"),
        ({"cam": torch.zeros(3, 3, 8, 9, dtype=torch.long)}, TypeError, "cam"),
        ({"cam": torch.full((3, 3, 8, 9), 2.0)}, ValueError, "cam"),
        ({"box": torch.tensor([[0, 8, 0, 10]] * 3)}, ValueError, "box: expected top, bottom"),
    ],
)
def test_bad_input_is_refused(
    change: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    images, cam, labels, box = case()
    arguments = {"images": images, "cam": cam, "labels": labels, "box": box, **change}
    with pytest.raises(error, match=message):
        reliable_labels(CRFPool(Recorded(), 0), **arguments)
