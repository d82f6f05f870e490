"""RRM's reliable regions: recorded label maps, plain loops, and where nothing is sure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import ShapeError
from fsr.refine import cam_with_background, reliable_region

Parity = Callable[[str], dict[str, Tensor]]
NAMES = ("cam", "labels", "crf_low", "crf_high")


def make_case(
    seed: int = 0, classes: int = 4, height: int = 7, width: int = 9
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """CAMs of which one class is absent, and two maps that look like results of a CRF."""
    draw = torch.Generator().manual_seed(seed)
    cam = (2 * torch.rand(classes, height, width, generator=draw) - 1).relu()
    labels = torch.ones(classes)
    labels[seed % classes] = float(classes == 1)
    low, high = (cam_with_background(cam, labels, power) for power in (4, 32))
    return cam, labels, _sharpened(low, draw), _sharpened(high, draw)


def _sharpened(maps: Tensor, draw: torch.Generator) -> Tensor:
    noisy = 6 * maps + 0.5 * torch.randn(maps.shape, generator=draw)
    return noisy.masked_fill(maps.flatten(1).amax(1)[:, None, None] == 0, -torch.inf).softmax(0)


def by_loops(
    cam: NDArray[Any], labels: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
) -> NDArray[np.int64]:
    """The region pixel by pixel, from the formula."""
    classes, height, width = cam.shape
    places = list(np.ndindex(height, width))
    scores, winner = {}, {}
    for place in places:
        shown = [float(cam[c][place]) if labels[c] > 0 else 0.0 for c in range(classes)]
        scores[place] = [(1 - max(shown)) ** 32, *shown]
        winner[place] = int(np.argmax(scores[place]))
    sure_by_cam = set()
    for k in {int(np.argmax(low[:, y, x])) for y, x in places}:
        own = {place: scores[place][k] for place in places if winner[place] == k}
        if k == 0:
            sure_by_cam |= {place for place, value in own.items() if value > 0.8}
            continue
        above = sorted(value for value in own.values() if value > 0.1)
        if above:
            bound = above[int(0.6 * len(above))]
            sure_by_cam |= {place for place, value in own.items() if value > bound}
    result = np.full((height, width), 255, dtype=np.int64)
    for y, x in places:
        strongest, second = int(np.argmax(low[:, y, x])), int(np.argmax(high[:, y, x]))
        by_crf = max(float(high[0, y, x]), *low[1:, y, x].tolist()) >= 0.8
        if by_crf and (y, x) in sure_by_cam:
            result[y, x] = 0 if second == 0 else strongest or 255
    return result


# -- against the released code and the formula ----------------------------------------------------


def test_matches_the_released_code(parity: Parity) -> None:
    arrays = parity("systems/rrm_reliable_region")
    found = reliable_region(*(arrays[f"in_{name}"] for name in NAMES))
    assert torch.equal(found, arrays["out_label"])


@pytest.mark.parametrize("image", range(5))
def test_matches_the_released_code_in_every_branch(parity: Parity, image: int) -> None:
    arrays = parity("systems/rrm_reliable_region_branches")
    given_to = [arrays[f"in_{name}"][image] for name in NAMES]
    assert torch.equal(reliable_region(*given_to), arrays["out_label"][image])
    # An array gives an array of the same numbers, one that is read-only too.
    as_arrays = [tensor.numpy().copy() for tensor in given_to]
    as_arrays[0].flags.writeable = False
    found = reliable_region(*as_arrays)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.int64
    assert np.array_equal(found, arrays["out_label"][image].numpy())


@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
)
def test_matches_plain_loops(seed: int, classes: int, height: int, width: int) -> None:
    case = make_case(seed, classes, height, width)
    expected = by_loops(*(tensor.double().numpy() for tensor in case))
    assert np.array_equal(reliable_region(*(tensor.double() for tensor in case)), expected)


def test_the_loops_see_labels_of_every_kind() -> None:
    found = torch.stack([reliable_region(*make_case(seed)) for seed in range(20)])
    assert set(found.unique().tolist()) == {0, 1, 2, 3, 4, 255}


# -- properties -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16))
def test_classes_may_change_places_and_images_be_mirrored(seed: int) -> None:
    cam, labels, low, high = make_case(seed)
    found = reliable_region(cam, labels, low, high)
    order = torch.tensor([2, 0, 3, 1])
    channels = torch.cat([torch.zeros(1, dtype=torch.long), order + 1])
    moved = reliable_region(cam[order], labels[order], low[channels], high[channels])
    known = moved < 255
    assert torch.equal(known, found < 255)
    assert torch.equal(channels[moved[known]], found[known])
    mirrored = reliable_region(*(m if m.ndim == 1 else m.flip(2) for m in (cam, labels, low, high)))
    assert torch.equal(mirrored.flip(1), found)


@given(seed=st.integers(0, 2**16))
def test_absent_classes_never_matter(seed: int) -> None:
    cam, labels, low, high = make_case(seed)
    absent = labels == 0
    other = torch.where(absent[:, None, None], torch.rand_like(cam), cam)
    found = reliable_region(other, labels, low, high)
    assert torch.equal(found, reliable_region(cam, labels, low, high))
    assert not torch.isin(found, absent.nonzero()[:, 0] + 1).any()


def test_the_type_of_the_maps_does_not_matter(device: torch.device) -> None:
    # Values that bfloat16 holds, away from the thresholds.
    cam, labels, low, high = (tensor.to(device) for tensor in make_case())
    coarse = [tensor.bfloat16() for tensor in (cam, low, high)]
    wide = [tensor.float() for tensor in coarse]
    found = reliable_region(coarse[0], labels.bool(), *coarse[1:])
    assert found.device.type == device.type
    assert torch.equal(found, reliable_region(wide[0], labels, *wide[1:]))


# -- nothing to be sure of ------------------------------------------------------------------------


def test_without_a_class_only_background_is_sure() -> None:
    cam, labels = torch.rand(2, 3, 4), torch.zeros(2)
    maps = cam_with_background(cam, labels, 4)
    assert torch.equal(reliable_region(cam, labels, maps, maps), torch.zeros(3, 4).long())


def test_a_class_of_no_value_above_the_floor_is_sure_nowhere() -> None:
    cam, labels = torch.full((1, 2, 3), 0.05), torch.ones(1)
    low = torch.tensor([0.1, 0.9]).view(2, 1, 1).expand(2, 2, 3)
    assert (reliable_region(cam, labels, low, low) == 255).all()


@pytest.mark.parametrize("value", [0.6, 1.0])
def test_a_constant_map_has_no_value_above_its_own_rank(value: float) -> None:
    cam, labels = torch.full((1, 2, 3), value), torch.ones(1)
    low = torch.tensor([0.1, 0.9]).view(2, 1, 1).expand(2, 2, 3)
    assert (reliable_region(cam, labels, low, low) == 255).all()


def test_a_single_pixel() -> None:
    labels, sure = torch.ones(1), torch.tensor([1.0, 0.0]).view(2, 1, 1)
    assert reliable_region(torch.zeros(1, 1, 1), labels, sure, sure).item() == 0
    # One value never exceeds itself.
    assert reliable_region(torch.ones(1, 1, 1), labels, sure.flip(0), sure.flip(0)).item() == 255


def test_the_rank_counts_the_values_above_the_floor_alone() -> None:
    # Ten values above 0.1: those above the value at rank 6, the seventh, are sure.
    cam = torch.cat([torch.full((5,), 0.1), torch.linspace(0.5, 0.95, 10)]).view(1, 1, 15)
    low = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 1, 15)
    found = reliable_region(cam, torch.ones(1), low, low)[0]
    assert found.tolist() == [255] * 12 + [1] * 3


def test_the_cam_is_not_asked_about_background_that_the_crf_never_sees() -> None:
    cam = torch.tensor([[[0.0, 0.0, 0.5, 0.6, 0.9]]])
    low = torch.tensor([[[0.1] * 5], [[0.9] * 5]])
    high = torch.tensor([[[0.9, 0.9, 0.1, 0.1, 0.1]], [[0.1, 0.1, 0.9, 0.9, 0.9]]])
    labels = torch.ones(1)
    assert reliable_region(cam, labels, low, high)[0].tolist() == [255, 255, 255, 255, 1]
    low[:, 0, 0] = torch.tensor([0.9, 0.1])
    assert reliable_region(cam, labels, low, high)[0].tolist() == [0, 0, 255, 255, 1]


# -- the background of the CRF's maps -------------------------------------------------------------


@given(seed=st.integers(0, 2**16), power=st.sampled_from([1, 2, 4.0, 32]))
def test_the_background_is_a_power_of_what_the_classes_leave(seed: int, power: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    cam = torch.rand(2, 3, 4, 5, generator=draw, dtype=torch.float64)
    labels = (torch.rand(2, 3, generator=draw) < 0.5).long()
    found = cam_with_background(cam, labels, power)
    for b, y, x in np.ndindex(2, 4, 5):
        shown = [cam[b, c, y, x].item() * labels[b, c].item() for c in range(3)]
        expected = [(1 - max(shown)) ** power, *shown]
        assert found[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-12)
    alone = cam_with_background(cam[1], labels[1], power)
    # Powers at the end of a row of registers may be rounded by another routine.
    torch.testing.assert_close(alone, found[1], rtol=1e-14, atol=0)


def test_a_value_just_above_one_leaves_no_background() -> None:
    found = cam_with_background(torch.full((1, 1, 1), 1.0005), torch.ones(1), 0.5)
    assert found[0].item() == 0


# -- errors ---------------------------------------------------------------------------------------

CAM, LABELS, MAPS = torch.rand(2, 3, 4), torch.ones(2), torch.rand(3, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, LABELS, MAPS, MAPS), TypeError, "cam: expected a tensor"),
        ((CAM.numpy(), LABELS, MAPS, MAPS), TypeError, "labels: expected an array as cam is, got"),
        ((CAM, LABELS, MAPS, MAPS.numpy()), TypeError, "crf_high: expected a tensor .*ndarray"),
        ((CAM[0], LABELS, MAPS, MAPS), ShapeError, r"cam: expected shape \(C, h, w\), got"),
        ((CAM, LABELS[:1], MAPS, MAPS), ShapeError, "labels: expected shape .* with C=2"),
        ((CAM, LABELS, MAPS[:2], MAPS), ShapeError, r"crf_low: .* with C\+1=3, h=3, w=4, got"),
        ((CAM, LABELS, MAPS, MAPS[..., :2]), ShapeError, r"crf_high: .* with C\+1=3, h=3, w=4"),
        ((CAM.long(), LABELS, MAPS, MAPS), TypeError, "cam: expected a floating-point"),
        ((CAM, LABELS, MAPS.long(), MAPS), TypeError, "crf_low: expected a floating-point"),
        ((CAM, LABELS, MAPS, MAPS.long()), TypeError, "crf_high: expected a floating-point"),
        ((CAM + 1.5, LABELS, MAPS, MAPS), ValueError, "cam: expected values between 0 and 1"),
        ((CAM, LABELS, MAPS - 2, MAPS), ValueError, "crf_low: expected values between 0 and 1"),
        ((CAM, LABELS, MAPS, MAPS / 0), ValueError, "crf_high: expected values between 0 and 1"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        reliable_region(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, LABELS, 4), TypeError, "cam: expected a tensor, got NoneType"),
        ((CAM, [1, 1], 4), TypeError, "labels: expected a tensor, got list"),
        ((CAM[0], LABELS, 4), ShapeError, r"cam: expected \(\.\.\., C, h, w\) with a class"),
        ((CAM[:0], LABELS[:0], 4), ShapeError, r"with a class and a pixel, got \(0, 3, 4\)"),
        ((CAM, LABELS[:1], 4), ShapeError, r"labels: expected shape \(2,\) as cam has, got \(1,\)"),
        ((CAM.long(), LABELS, 4), TypeError, "cam: expected a floating-point tensor"),
        ((CAM - 2, LABELS, 4), ValueError, "cam: expected values between 0 and 1"),
        ((CAM, LABELS, 0), ValueError, r"power: expected a number in \(0.0, inf\), got 0"),
        ((CAM, LABELS, "4"), TypeError, "power: expected a number, got str"),
    ],
)
def test_bad_input_of_the_background_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cam_with_background(*arguments)
