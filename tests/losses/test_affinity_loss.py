"""Loss of learned affinities against loops, the recorded loss and its own promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import affinity_loss
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]


def case(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    affinity = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 255])[torch.randint(0, 3, (2, 5, 5), generator=generator)]
    return affinity, labels


def by_loops(affinity: Tensor, labels: Tensor) -> float:
    sums, counts = {0: 0.0, 1: 0.0}, {0: 1, 1: 1}
    for value, label in zip(affinity.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if label in sums:
            sums[label] += 1 - value if label else value
            counts[label] += 1
    return 0.5 * sums[1] / counts[1] + 0.5 * sums[0] / counts[0]


@given(st.integers(0, 1000))
def test_the_loss_is_that_of_the_loops(seed: int) -> None:
    affinity, labels = case(seed)
    found = affinity_loss(affinity, labels)
    assert found.item() == pytest.approx(by_loops(affinity, labels), rel=1e-12)
    assert 0 <= found.item() <= 1


def test_the_recorded_loss_of_afa_is_reproduced(parity: Parity) -> None:
    recorded = parity("systems/afa_affinity_loss")
    affinity = recorded["in_affinity"].requires_grad_()
    loss = affinity_loss(affinity, recorded["in_affinity_label"])
    (grad,) = torch.autograd.grad(loss, affinity)
    torch.testing.assert_close(loss, recorded["out_loss"], rtol=1e-5, atol=0)
    reach = recorded["grad_affinity"].abs().max().item()
    torch.testing.assert_close(grad, recorded["grad_affinity"], rtol=0, atol=1e-5 * reach)


def test_the_gradient_is_right_and_unknown_pairs_get_none() -> None:
    affinity, labels = case()
    affinity.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: affinity_loss(a, labels), (affinity,))
    affinity_loss(affinity, labels).backward()
    assert torch.equal(affinity.grad != 0, labels != 255)


def test_sums_and_counts_run_over_the_batch() -> None:
    affinity = torch.tensor([[[0.5, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    labels = torch.tensor([[[1, 255], [255, 255]], [[1, 1], [1, 255]]])
    assert affinity_loss(affinity, labels).item() == pytest.approx(0.5 * 0.5 / 5)


def test_no_pair_is_an_attached_zero() -> None:
    affinity = torch.rand(1, 3, 3, requires_grad=True)
    loss = affinity_loss(affinity, torch.full((1, 3, 3), 255))
    assert loss.item() == 0.0
    loss.backward()
    assert torch.equal(affinity.grad, torch.zeros(1, 3, 3))


@pytest.mark.parametrize(("label", "expected"), [(1, 0.35), (0, 0.15)])
def test_a_single_pair(label: int, expected: float) -> None:
    # One pair of affinity 0.3 counts for half of itself, as counts are one more than there are.
    loss = affinity_loss(torch.full((1, 1, 1), 0.3), torch.full((1, 1, 1), label))
    assert loss.item() == pytest.approx(expected / 2)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    affinity, labels = case()
    expected = affinity_loss(affinity.bfloat16().float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = affinity_loss(affinity.bfloat16(), labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert_compiles(affinity_loss, affinity, labels)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"affinity": torch.zeros(4, 4)}, ShapeError, r"affinity: expected shape \(B, N, M\)"),
        ({"affinity": torch.zeros(1, 4, 5)}, ShapeError, "affinity: .*M=4, got"),
        ({"labels": torch.zeros(1, 5, 5).long()}, ShapeError, "labels: .*B=1, N=4, M=4, got"),
        ({"affinity": torch.zeros(1, 4, 4).long()}, TypeError, "affinity: expected a floating"),
        ({"labels": torch.zeros(1, 4, 4)}, TypeError, "labels: expected an integer tensor"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = {"affinity": torch.zeros(1, 4, 4), "labels": torch.zeros(1, 4, 4).long()}
    with pytest.raises(error, match=message):
        affinity_loss(**(good | changes))
