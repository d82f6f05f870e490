"""SEAM's losses: loops, recorded values and gradients of a step, degenerate maps, errors."""

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
from torch.nn import functional as F

from fsr.cam import max_norm
from fsr.errors import ShapeError
from fsr.losses import equivariance_losses, min_pooling_loss
from tests.helpers import assert_compiles

Load = Callable[[str], dict[str, Tensor]]
Array = NDArray[np.float64]
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
KEYS = ("cam1", "revised1", "cam2", "revised2")


def views(seed: int = 0, size: tuple[int, int] = (3, 4)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 4, *size)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in KEYS]


# -- plain loops written from the formulas --------------------------------------------------------


def normalised(maps: Array, present: Array) -> Array:
    """``max_norm`` times the labels, of one image."""
    result = np.zeros_like(maps)
    for c, channel in enumerate(maps):
        positive = np.maximum(channel, 0)
        low, high = positive.min(), positive.max()
        result[c] = np.maximum(positive - low - 1e-5, 0) / (high - low + 1e-5) * present[c]
    return result


def winners(maps: Array) -> Array:
    """The background as what is left, and of the classes the largest of each pixel."""
    result = np.zeros_like(maps)
    for y, x in np.ndindex(*maps.shape[1:]):
        best = max(maps[1:, y, x])
        result[0, y, x] = 1 - best
        for c in range(1, len(maps)):
            result[c, y, x] = maps[c, y, x] if maps[c, y, x] == best else 0
    return result


def by_loops(maps: list[Tensor], labels: Tensor, share: float) -> tuple[float, float]:
    """Both losses of two views of one size."""
    within, crosswise = [], []
    for b in range(len(labels)):
        present = np.concatenate([[1.0], labels[b].numpy()])
        cam1, revised1, cam2, revised2 = (normalised(m[b].numpy(), present) for m in maps)
        within += [abs(a - b) for a, b in zip(cam1[1:].flat, cam2[1:].flat, strict=True)]
        kept = int(share * cam1.size)
        for winner, revised in ((winners(cam2), revised1), (winners(cam1), revised2)):
            errors = sorted(np.abs(winner - revised).flat, reverse=True)[:kept]
            crosswise.append(sum(errors) / max(kept, 1))
    return float(np.mean(within)), sum(crosswise) / len(labels)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0, 0.0])
def test_both_losses_are_those_of_the_loops(share: float, device: torch.device) -> None:
    maps = views()
    moved = dict(zip(KEYS, (m.to(device) for m in maps), strict=True))
    er, ecr = equivariance_losses(**moved, labels=LABELS.to(device), share=share)
    assert (er.item(), ecr.item()) == pytest.approx(by_loops(maps, LABELS, share), rel=1e-10)


def test_view_1_is_normalised_first_and_resized_then() -> None:
    maps = views()
    large = [m.repeat_interleave(3, 2).repeat_interleave(2, 3) for m in views(1)[:2]]
    found = equivariance_losses(large[0], large[1], maps[2], maps[3], LABELS)
    present = F.pad(LABELS, (1, 0), value=1.0)[:, :, None, None]
    small, fixed = (
        F.interpolate(max_norm(m), (3, 4), mode="bilinear", align_corners=True) * present
        for m in large
    )
    other = max_norm(maps[2]) * present
    assert found[0].item() == pytest.approx((small - other)[:, 1:].abs().mean().item())
    errors = []
    for b in range(2):
        for one, two in (
            (other[b], fixed[b]),
            (small[b], (max_norm(maps[3]) * present)[b]),
        ):
            difference = np.abs(winners(one.numpy()) - two.numpy()).flatten()
            errors.append(np.sort(difference)[::-1][: int(0.2 * 48)].mean())
    assert found[1].item() == pytest.approx(sum(errors) / 2)


def quarter_by_loops(cam: Tensor) -> float:
    """The lowest quarter of one image."""
    highest = sorted(max(column) for column in cam.flatten(1).T.tolist())
    count = len(highest) // 4
    return sum(max(value, 0.0) for value in highest[:count]) / max(count, 1)


@pytest.mark.parametrize("size", [(3, 5), (2, 2), (1, 3), (1, 1)])
def test_min_pooling_is_that_of_the_loops(size: tuple[int, int], device: torch.device) -> None:
    cam = 1 + torch.randn(2, 3, *size, dtype=torch.float64)
    found = min_pooling_loss(cam.to(device)).item()
    assert found == pytest.approx(np.mean([quarter_by_loops(image) for image in cam]), rel=1e-12)


# -- recorded values ------------------------------------------------------------------------------


def close(found: Tensor | None, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_recorded_losses_of_two_views_are_reproduced(parity: Load) -> None:
    recorded = parity("systems/seam_losses")
    leaves = {key: recorded[f"in_{key}"].clone().requires_grad_() for key in KEYS}
    er, ecr = equivariance_losses(**leaves, labels=recorded["in_labels"])
    close(er, recorded["out_er"])
    close(ecr, recorded["out_ecr"])
    (er + ecr).backward()
    for key in ("cam1", "revised1"):
        close(leaves[key].grad, recorded[f"grad_{key}"])
    classes = recorded["in_revised1"][:, 1:] * recorded["in_labels"][:, :, None, None]
    close(min_pooling_loss(classes), recorded["out_min_pooling"])


def test_a_recorded_step_is_reproduced(parity: Load) -> None:
    recorded = parity("systems/seam_step")
    labels = recorded["in_labels"]
    leaves = {key: recorded[f"in_{key}"].clone().requires_grad_() for key in KEYS}
    er, ecr = equivariance_losses(**leaves, labels=labels)
    close(er, recorded["out_er"])
    close(ecr, recorded["out_ecr"])
    scores = [
        F.multilabel_soft_margin_loss(leaves[f"cam{view}"].mean(dim=(2, 3))[:, 1:], labels)
        + min_pooling_loss(leaves[f"revised{view}"][:, 1:] * labels[:, :, None, None])
        for view in (1, 2)
    ]
    classification = (scores[0] + scores[1]) / 2
    close(classification, recorded["out_classification"])
    total = classification + er + ecr
    close(total, recorded["out_loss"])
    total.backward()
    for key in KEYS:
        close(leaves[key].grad, recorded[f"grad_{key}"])


# -- properties -----------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_views_may_change_places_and_images_their_order(seed: int) -> None:
    maps = views(seed)
    expected = equivariance_losses(maps[0], maps[1], maps[2], maps[3], LABELS)
    swapped = equivariance_losses(maps[2], maps[3], maps[0], maps[1], LABELS)
    torch.testing.assert_close(swapped, expected)
    turned = [m.flip(0) for m in maps]
    found = equivariance_losses(turned[0], turned[1], turned[2], turned[3], LABELS.flip(0))
    torch.testing.assert_close(found, expected)
    assert 0 <= expected[0] <= 1
    assert 0 <= expected[1] <= 2


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_min_pooling_grows_with_the_map_and_knows_no_order(seed: int, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64) + 1
    loss = min_pooling_loss(cam)
    torch.testing.assert_close(min_pooling_loss(factor * cam), factor * loss)
    moved = cam.flatten(2)[..., torch.randperm(12, generator=generator)].view_as(cam)
    torch.testing.assert_close(min_pooling_loss(moved), loss)


def test_equal_views_differ_nowhere_within() -> None:
    cam, revised, _, _ = views()
    er, _ = equivariance_losses(cam, revised, cam, revised, LABELS)
    assert er.item() == 0


def test_gradients_are_right_and_reach_all_four_maps() -> None:
    maps = [value.requires_grad_() for value in views(5)]
    fixed = views(5)

    def total(*values: Tensor) -> Tensor:
        # In the crosswise loss the CAMs are constants, which finite differences do not know.
        within, _ = equivariance_losses(values[0], fixed[1], values[1], fixed[3], LABELS)
        _, crosswise = equivariance_losses(fixed[0], values[2], fixed[2], values[3], LABELS)
        return within + crosswise

    assert torch.autograd.gradcheck(total, (maps[0], maps[2], maps[1], maps[3]))
    er, ecr = equivariance_losses(maps[0], maps[1], maps[2], maps[3], LABELS)
    reached = torch.autograd.grad(er, maps, retain_graph=True, allow_unused=True)
    assert [grad is not None for grad in reached] == [True, False, True, False]
    reached = torch.autograd.grad(ecr, maps, allow_unused=True)
    assert [grad is not None for grad in reached] == [False, True, False, True]
    cam = (1 + torch.randn(2, 3, 3, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(min_pooling_loss, (cam,))


@pytest.mark.parametrize("value", [0.0, -1.0, 2.0])
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_constant_maps_and_images_without_a_class_are_finite(
    value: float, size: tuple[int, int]
) -> None:
    maps = [torch.full((2, 4, *size), value, requires_grad=True) for _ in KEYS]
    for labels in (LABELS, 0 * LABELS):
        er, ecr = equivariance_losses(maps[0], maps[1], maps[2], maps[3], labels)
        assert er.item() == 0
        # All is background on one side and nothing on the other: int(0.2 * 4) = 0 of one pixel.
        assert ecr.item() == (2.0 if size == (3, 4) else 0.0)
        grads = torch.autograd.grad(er + ecr, maps)
        assert all(torch.isfinite(grad).all() for grad in grads)
    nothing = min_pooling_loss(0 * maps[0])
    assert (nothing.item(), nothing.requires_grad) == (0.0, True)


def test_precision() -> None:
    maps = [m.float() for m in views()]
    half = [m.bfloat16() for m in maps]
    whole = [m.float() for m in half]
    found = equivariance_losses(half[0], half[1], half[2], half[3], LABELS)
    expected = equivariance_losses(whole[0], whole[1], whole[2], whole[3], LABELS)
    assert found[0].dtype == found[1].dtype == torch.float32
    assert found == expected
    assert torch.equal(min_pooling_loss(half[0]), min_pooling_loss(whole[0]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = equivariance_losses(whole[0], whole[1], whole[2], whole[3], LABELS)
    assert inside == expected
    assert_compiles(equivariance_losses, *maps, LABELS)
    assert_compiles(min_pooling_loss, maps[0])


MAPS = torch.zeros(2, 4, 5, 6)
SMALL = torch.zeros(2, 4, 2, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cam1": MAPS[0]}, ShapeError, r"cam1: expected shape \(B, C\+1, H, W\)"),
        ({"revised1": SMALL}, ShapeError, "revised1: .*H=5, W=6"),
        ({"cam2": SMALL[:, :3]}, ShapeError, r"cam2: .*C\+1=4"),
        ({"revised2": MAPS}, ShapeError, "revised2: .*h=2, w=3"),
        ({"labels": torch.ones(2, 4)}, ShapeError, "labels: .*C=3"),
        ({"cam1": MAPS.int()}, TypeError, "cam1: .*floating"),
        ({"revised2": SMALL.int()}, TypeError, "revised2: .*floating"),
        ({"share": 1.5}, ValueError, r"share: expected a number in \[0.0, 1.0\], got 1.5"),
        ({"share": None}, TypeError, "share: expected a number, got NoneType"),
        (
            {"cam2": SMALL[..., :0], "revised2": SMALL[..., :0]},
            ShapeError,
            "cam2: expected at least one pixel",
        ),
        (
            dict.fromkeys(KEYS, SMALL[:, :1]) | {"labels": torch.ones(2, 0)},
            ShapeError,
            "cam1: expected an image, a background and a class at least",
        ),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"cam1": MAPS, "revised1": MAPS, "cam2": SMALL, "revised2": SMALL}
    with pytest.raises(error, match=message):
        equivariance_losses(**(given | {"labels": torch.ones(2, 3)} | changes))


@pytest.mark.parametrize(
    ("cam", "error", "message"),
    [
        (MAPS[0], ShapeError, r"cam: expected shape \(B, C, H, W\)"),
        (MAPS[:, :0], ShapeError, "cam: expected at least one class"),
        (MAPS.int(), TypeError, "cam: expected a floating-point tensor"),
    ],
)
def test_min_pooling_refuses_bad_input(cam: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        min_pooling_loss(cam)
