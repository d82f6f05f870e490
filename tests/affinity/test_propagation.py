"""Maps spread along affinities, against the recorded ones, loops and their own promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.affinity import propagate, propagate_with_background, radius_mask
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cam = torch.rand(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    affinity = torch.rand(2, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.rand(2, 3, generator=generator) > 0.4
    mask = torch.rand(6, 6, generator=generator) > 0.3
    return cam, affinity, labels, mask


def by_loops(maps: Tensor, affinity: Tensor, mask: Tensor, power: int, eps: float) -> Tensor:
    flat, result = maps.flatten(2), torch.zeros_like(maps).flatten(2)
    batch, channels, count = flat.shape
    for b in range(batch):
        for j in range(count):
            weights = [
                float(affinity[b, i, j]) ** power if mask[i, j] else 0.0 for i in range(count)
            ]
            total = sum(weights) + eps
            for c in range(channels):
                result[b, c, j] = sum(
                    float(flat[b, c, i]) * weights[i] / total for i in range(count)
                )
    return result.view(maps.shape)


def probabilities(cam: Tensor, labels: Tensor, background: float) -> Tensor:
    batch, classes = cam.shape[:2]
    result = torch.zeros(batch, classes + 1, *cam.shape[2:], dtype=cam.dtype)
    for b in range(batch):
        present = [c for c in range(classes) if labels[b, c] > 0]
        total = math.exp(background) + sum(cam[b, c].exp() for c in present)
        result[b, 0] = math.exp(background) / total
        for c in present:
            result[b, c + 1] = cam[b, c].exp() / total
    return result


def test_the_recorded_maps_of_afa_are_reproduced(parity: Parity) -> None:
    recorded = parity("systems/afa_propagate")
    cam, affinity, labels = (recorded[f"in_{name}"] for name in ("cam", "affinity", "labels"))
    mask = radius_mask(tuple(cam.shape[2:]), int(recorded["arg_radius"]))
    before = affinity.clone()
    options: dict[str, Any] = {"mask": mask, "power": int(recorded["arg_power"])}
    plain = propagate(cam, affinity, **options)
    torch.testing.assert_close(plain, recorded["out_cam_without_background"], rtol=0, atol=1e-5)
    level = recorded["arg_background"].item()
    found = propagate_with_background(cam, affinity, labels, level, **options)
    torch.testing.assert_close(found, recorded["out_maps"], rtol=0, atol=1e-5)
    flat = propagate_with_background(cam.flatten(2), affinity, labels, level, **options)
    assert torch.equal(flat, found.flatten(2))
    # The released function writes zeros into its input; a second threshold would see them.
    assert torch.equal(affinity, before)


@pytest.mark.parametrize(("power", "eps"), [(2, 1e-4), (1, 0.1), (3, 2.0)])
def test_maps_are_those_of_the_loops(power: int, eps: float) -> None:
    cam, affinity, labels, mask = case()
    found = propagate(cam, affinity, mask=mask, power=power, eps=eps)
    torch.testing.assert_close(found, by_loops(cam, affinity, mask, power, eps))
    found = propagate_with_background(cam, affinity, labels, 0.3, mask=mask, power=power, eps=eps)
    start = probabilities(cam, labels, 0.3)
    torch.testing.assert_close(found, by_loops(start, affinity, mask, power, eps))


def test_the_defaults_of_the_two_differ() -> None:
    cam, affinity, labels, _ = case()
    every = torch.ones(6, 6, dtype=torch.bool)
    torch.testing.assert_close(propagate(cam, affinity), by_loops(cam, affinity, every, 2, 1e-4))
    torch.testing.assert_close(
        propagate_with_background(cam, affinity, labels, 0.3),
        by_loops(probabilities(cam, labels, 0.3), affinity, every, 2, 0.1),
    )


@given(st.integers(0, 1000))
def test_scores_are_averaged_and_permuting_patches_permutes_them(seed: int) -> None:
    cam, affinity, labels, mask = case(seed)
    spread = propagate(cam, affinity, mask=mask)
    assert (spread >= 0).all()
    assert (spread <= cam.flatten(2).amax(2)[..., None, None]).all()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    shuffled = propagate(
        cam.flatten(2)[..., order], affinity[:, order][..., order], mask=mask[order][:, order]
    )
    torch.testing.assert_close(shuffled, spread.flatten(2)[..., order])
    shown = propagate_with_background(cam, affinity, labels, 0.4).flatten(2)
    assert torch.equal(shown[:, 1:].amax(2) > 0, labels)
    assert (shown.sum(1) <= 1 + 1e-9).all()


def test_the_affinity_is_a_constant_and_the_maps_are_not() -> None:
    cam, affinity, _, _ = case()
    cam.requires_grad_()
    affinity.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: propagate(m, affinity.detach()), (cam,))
    propagate(cam, affinity).sum().backward()
    assert affinity.grad is None


def test_an_image_without_a_class_is_all_background_and_an_empty_mask_is_zero() -> None:
    cam, affinity, _, mask = case()
    alone = propagate_with_background(cam, affinity, torch.zeros(2, 3), 0.3, eps=1e-9)
    torch.testing.assert_close(alone[:, 0], torch.ones_like(alone[:, 0]))
    assert not alone[:, 1:].any()
    assert not propagate(cam, affinity, mask=torch.zeros_like(mask)).any()
    single = propagate(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1), 0.5), power=1, eps=0.5)
    assert single.item() == 0.5


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    cam, affinity, labels, _ = case()
    cam, affinity = cam.bfloat16(), affinity.bfloat16()
    expected = propagate_with_background(cam.float(), affinity.float(), labels, 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = propagate_with_background(cam, affinity, labels, 0.3)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_both_compile() -> None:
    cam, affinity, labels, mask = case()
    assert_compiles(propagate, cam, affinity, mask=mask)
    assert_compiles(propagate_with_background, cam, affinity, labels, 0.3, mask=mask)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cam": [1.0]}, TypeError, r"cam: expected a tensor \(B, C, H, W\) or .*got list"),
        ({"cam": torch.zeros(3, 4)}, ShapeError, r"cam: expected shape .*got \(3, 4\)"),
        ({"cam": torch.zeros(1, 2, 2, 2).long()}, TypeError, "cam: expected a floating"),
        ({"affinity": torch.zeros(1, 4, 5)}, ShapeError, "affinity: .*B=1, N=4, M=4"),
        ({"affinity": torch.zeros(1, 4, 4).long()}, TypeError, "affinity: expected a floating"),
        ({"labels": torch.zeros(1, 3)}, ShapeError, "labels: .*B=1, C=2"),
        ({"background": 1.5}, ValueError, "background: expected a number in .*got 1.5"),
        ({"mask": torch.ones(3, 3).bool()}, ShapeError, "mask: .*N=4, M=4"),
        ({"mask": torch.ones(4, 4)}, TypeError, "mask: expected a boolean tensor"),
        ({"power": 0}, ValueError, "power: expected a positive integer, got 0"),
        ({"eps": 0.0}, ValueError, r"eps: expected a number in \(0.0, inf\), got 0.0"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"cam": torch.zeros(1, 2, 2, 2), "affinity": torch.zeros(1, 4, 4)}
    good |= {"labels": torch.ones(1, 2), "background": 0.3}
    with pytest.raises(error, match=message):
        propagate_with_background(**(good | changes))


def test_bad_maps_are_refused_by_name() -> None:
    with pytest.raises(ShapeError, match=r"maps: expected shape .*got \(4,\)"):
        propagate(torch.zeros(4), torch.zeros(1, 4, 4))
