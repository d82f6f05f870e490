"""Targets of a second view, and the cross entropy of its patches with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.cam import filter_by_labels, split_tiles
from fsr.errors import ShapeError
from fsr.losses import equivariance_targets, patch_cross_entropy
from tests.helpers import assert_compiles

PLAIN = torch.zeros(2, 3, dtype=torch.long)


def make_case(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, 4, 4, generator=generator, dtype=torch.float64)
    return logits.softmax(1), torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]])


def test_recorded_targets_loss_and_gradient_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/vit_pcm_equivariance")
    tile = int(recorded["arg_tile"])
    targets = equivariance_targets(
        recorded["in_probabilities"],
        recorded["in_labels"],
        flips=recorded["in_transform1"],
        target_flips=recorded["in_transform2"],
        size=(tile, tile),
    )
    torch.testing.assert_close(targets, recorded["out_targets"], rtol=0, atol=1e-5)
    logits = recorded["in_logits_merged"].requires_grad_()
    tiles = split_tiles(logits.softmax(1), (2, 2))
    torch.testing.assert_close(tiles, recorded["out_tiles"], rtol=0, atol=1e-5)
    loss = patch_cross_entropy(tiles, targets)
    loss.backward()
    torch.testing.assert_close(loss, recorded["out_loss"], rtol=1e-5, atol=0)
    expected = recorded["grad_logits_merged"]
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-5 * expected.abs().max())


# -- targets --------------------------------------------------------------------------------------


def test_a_target_is_made_in_order_for_every_image_alone() -> None:
    probabilities, labels = make_case()
    flips = torch.tensor([[1, 0, 1], [0, 1, 1]])
    target_flips = torch.tensor([[0, 1, 1], [1, 0, 1]])
    box = torch.tensor([[0, 3, 1, 4], [2, 4, 0, 2]])
    targets = equivariance_targets(
        probabilities, labels, flips=flips, target_flips=target_flips, size=(5, 5), box=box
    )
    plain = [probabilities[0].transpose(-1, -2).flip(-1), probabilities[1].transpose(-1, -2)]
    plain[1] = plain[1].flip(-2)
    for b, (top, bottom, left, right) in enumerate(box.tolist()):
        part = plain[b][None, :, top:bottom, left:right]
        moved = F.interpolate(part, (5, 5), mode="bilinear", align_corners=True)
        moved = moved.flip(-2) if b == 0 else moved.flip(-1)
        expected = filter_by_labels(moved.transpose(-1, -2), labels[b : b + 1])
        torch.testing.assert_close(targets[b : b + 1], expected)


@given(st.integers(0, 1000))
def test_a_view_of_itself_is_its_filtered_self(seed: int) -> None:
    probabilities, labels = make_case(seed)
    flips = torch.randint(0, 2, (2, 3), generator=torch.Generator().manual_seed(seed))
    targets = equivariance_targets(
        probabilities, labels, flips=flips, target_flips=flips, size=(4, 4)
    )
    torch.testing.assert_close(targets, filter_by_labels(probabilities, labels))


def test_targets_have_no_gradient_and_are_float32_at_least() -> None:
    probabilities, labels = make_case()
    options = {"flips": PLAIN, "target_flips": PLAIN, "size": (2, 2)}
    targets = equivariance_targets(probabilities.requires_grad_(), labels, **options)
    assert not targets.requires_grad
    half = equivariance_targets(probabilities.bfloat16(), labels, **options)
    assert half.dtype == torch.float32
    again = equivariance_targets(probabilities.bfloat16().float(), labels, **options)
    assert torch.equal(half, again)
    assert_compiles(equivariance_targets, probabilities.detach().float(), labels, **options)


# -- loss -----------------------------------------------------------------------------------------


def test_the_loss_matches_plain_loops(device: torch.device) -> None:
    probabilities, labels = make_case()
    targets = filter_by_labels(probabilities.flip(-1), labels)
    total = 0.0
    for b, y, x in np.ndindex(2, 4, 4):
        for c in range(4):
            total -= targets[b, c, y, x].item() * math.log(probabilities[b, c, y, x].item())
    loss = patch_cross_entropy(probabilities.to(device), targets.to(device))
    assert loss.item() == pytest.approx(total / 32, rel=1e-12)


def test_gradient_is_that_of_finite_differences_and_targets_are_constants() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: patch_cross_entropy(x.softmax(1), targets), logits)
    patch_cross_entropy(logits.softmax(1), targets).backward()
    assert targets.grad is None


def test_a_probability_of_zero_costs_what_the_floor_does() -> None:
    probabilities = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    loss = patch_cross_entropy(probabilities, torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(loss, torch.tensor(-math.log(1e-7)))
    loss.backward()
    assert probabilities.grad.flatten().tolist() == [0.0, 0.0]


def test_empty_targets_give_an_attached_zero_and_count() -> None:
    probabilities = torch.full((1, 2, 1, 2), 0.5, requires_grad=True)
    targets = torch.zeros(1, 2, 1, 2)
    loss = patch_cross_entropy(probabilities, targets)
    assert loss == 0
    loss.backward()
    assert not probabilities.grad.any()
    targets[0, 0, 0, 0] = 1.0
    torch.testing.assert_close(
        patch_cross_entropy(probabilities, targets).detach(), torch.tensor(math.log(2) / 2)
    )


@given(st.integers(0, 1000), st.sampled_from([1.0, 1e4, 1e30]))
def test_never_nan_and_least_at_the_target(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(2, 3, 2, 2, generator=generator)
    targets = torch.randn(2, 3, 2, 2, generator=generator).softmax(1)
    loss = patch_cross_entropy(logits.requires_grad_().softmax(1), targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert loss >= patch_cross_entropy(targets, targets) - 1e-6


def test_precision() -> None:
    probabilities, labels = make_case()
    targets = filter_by_labels(probabilities, labels)
    assert patch_cross_entropy(probabilities, targets).dtype == torch.float64
    probabilities, targets = probabilities.float(), targets.float()
    expected = patch_cross_entropy(probabilities, targets)
    for dtype in (torch.float16, torch.bfloat16):
        half = patch_cross_entropy(probabilities.to(dtype), targets)
        assert half.dtype == torch.float32
        assert half == patch_cross_entropy(probabilities.to(dtype).float(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert patch_cross_entropy(probabilities, targets) == expected
    assert_compiles(patch_cross_entropy, probabilities, targets)


# -- errors ---------------------------------------------------------------------------------------

MAPS, LABELS = torch.zeros(2, 4, 4, 4), torch.ones(2, 4)


@pytest.mark.parametrize(
    ("maps", "labels", "change", "error", "message"),
    [
        (MAPS[0], LABELS, {}, ShapeError, r"probabilities: expected shape \(B, C\+1, S, S\), got"),
        (MAPS.int(), LABELS, {}, TypeError, "probabilities: expected a floating-point tensor"),
        (MAPS[..., 1:], LABELS, {}, ShapeError, "probabilities: expected square maps"),
        (MAPS, LABELS[:, 1:], {}, ShapeError, r"labels: expected shape .* K=4, got \(2, 3\)"),
        (MAPS, LABELS, {"flips": PLAIN[:1]}, ShapeError, r"flips: .* with B=2"),
        (MAPS, LABELS, {"target_flips": PLAIN[:1]}, ShapeError, r"flips: .* with B=2"),
        (MAPS, LABELS, {"size": (2, 3)}, ShapeError, "maps: expected square maps"),
        (MAPS, LABELS, {"box": torch.zeros(2, 4).long()}, ValueError, r"box: .* got \[0, 0, 0, 0"),
    ],
)
def test_bad_targets_are_refused(
    maps: Tensor,
    labels: Tensor,
    change: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    options = {"flips": PLAIN, "target_flips": PLAIN, "size": (2, 2), **change}
    with pytest.raises(error, match=message):
        equivariance_targets(maps, labels, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("probabilities", "targets", "error", "message"),
    [
        (MAPS[0], MAPS, ShapeError, r"probabilities: expected shape \(B, K, h, w\), got"),
        (MAPS, MAPS[:, 1:], ShapeError, r"targets: .* with B=2, K=4, h=4, w=4, got \(2, 3, 4, 4\)"),
        (MAPS.int(), MAPS, TypeError, "probabilities: expected a floating-point tensor"),
        (MAPS, MAPS.int(), TypeError, "targets: expected a floating-point tensor"),
        (MAPS[:0], MAPS[:0], ShapeError, "probabilities: expected at least one patch, got"),
        (MAPS + 2, MAPS, ValueError, "probabilities: expected values between 0 and 1, got values"),
        (MAPS, MAPS - 2, ValueError, "targets: expected values between 0 and 1, got values"),
        (MAPS, MAPS * torch.nan, ValueError, "targets: expected values between 0 and 1, got NaN"),
    ],
)
def test_bad_input_of_the_loss_is_refused(
    probabilities: Tensor, targets: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        patch_cross_entropy(probabilities, targets)
