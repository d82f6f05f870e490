"""URN's weighted cross entropy and its pretended under-fitting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.losses import pixel_cross_entropy, underfit, weighted_cross_entropy
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, Tensor]]
IGNORE = 255


def make_case(seed: int = 0, size: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, *size), generator=draw)
    labels[torch.rand(2, *size, generator=draw) < 0.3] = IGNORE
    return logits, labels, torch.randint(0, 256, (2, *size), generator=draw)


def by_loops(logits: Tensor, labels: Tensor, weights: Tensor, threshold: float) -> float:
    total = 0.0
    for b, y, x in np.ndindex(labels.shape):
        label = int(labels[b, y, x])
        if label != IGNORE:
            scores = logits[b, :, y, x].numpy()
            entropy = np.log(np.exp(scores).sum()) - scores[label]
            total += entropy * (threshold if weights[b, y, x].item() / 255 <= threshold else 1.0)
    return total / labels.numel()


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["urn", "urn_competition"])
def test_the_weighted_loss_matches_the_released_code(parity: Parity, name: str) -> None:
    arrays = parity(f"systems/{name}")
    logits = arrays["in_logits"].requires_grad_()
    threshold = arrays["arg_weight_threshold"].item()
    loss = weighted_cross_entropy(logits, arrays["in_labels"], arrays["in_weights"], threshold)
    loss.backward()
    torch.testing.assert_close(loss, arrays["out_loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, arrays["grad_logits"], rtol=1e-5, atol=1e-8)


@given(seed=st.integers(0, 2**16), threshold=st.floats(0, 1), larger=st.booleans())
def test_the_weighted_loss_is_that_of_plain_loops(
    seed: int, threshold: float, larger: bool
) -> None:
    logits, labels, weights = make_case(seed, (7, 6) if larger else (3, 5))
    resized = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    expected = by_loops(resized, labels, weights, threshold)
    loss = weighted_cross_entropy(logits, labels, weights, threshold)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    # Bytes, as they come from a file, are the same numbers.
    assert weighted_cross_entropy(logits, labels, weights.byte(), threshold) == loss


@pytest.mark.parametrize("value", [1, 13, 51, 128, 254])
def test_a_weight_at_the_threshold_is_uncertain(value: int) -> None:
    logits, labels, _ = make_case()
    entropy = pixel_cross_entropy(logits, labels).mean()
    threshold = value / 255
    at, above = (torch.full_like(labels, value + step) for step in (0, 1))
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, at, threshold), threshold * entropy
    )
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, above, threshold), entropy)


def test_a_threshold_of_nothing_or_all_and_one_pixel() -> None:
    logits, labels, weights = make_case()
    entropy = pixel_cross_entropy(logits, labels).mean()
    assert weighted_cross_entropy(logits, labels, weights, 1.0) == entropy
    assert weighted_cross_entropy(logits, labels, torch.zeros_like(weights), 0.0) == 0
    one = torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1).long(), torch.zeros(1, 1, 1).byte()
    assert weighted_cross_entropy(*one).item() == pytest.approx(0.05 * np.log(2))


def test_everything_ignored_gives_an_attached_zero() -> None:
    logits = make_case()[0].requires_grad_()
    labels = torch.full((2, 3, 5), IGNORE)
    loss = weighted_cross_entropy(logits, labels, torch.zeros_like(labels))
    assert loss == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_gradient_is_that_of_finite_differences() -> None:
    logits, labels, weights = make_case(size=(6, 10))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: weighted_cross_entropy(x, labels, weights, 0.5), logits
    )


# -- under-fitting --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loose", "fit"])
def test_under_fitting_matches_the_released_code(parity: Parity, name: str) -> None:
    arrays = parity("systems/urn_underfitting")
    logits = arrays[f"in_logits_{name}"].requires_grad_()
    losses = pixel_cross_entropy(logits, arrays[f"in_labels_{name}"])
    options = [arrays[f"arg_{option}"].item() for option in ("threshold", "ceiling")]
    loss = underfit(losses, *options).mean()
    loss.backward()
    torch.testing.assert_close(loss, arrays[f"out_loss_{name}"], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, arrays[f"grad_logits_{name}"], rtol=1e-5, atol=1e-8)
    assert (losses.mean() < 0.5) == (name == "fit")


@given(
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([0.1, 1.0, 3.0]),
    threshold=st.floats(0, 2),
    ceiling=st.floats(0, 2),
)
def test_under_fitting_clamps_all_or_nothing(
    seed: int, scale: float, threshold: float, ceiling: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    losses = scale * torch.rand(2, 3, 4, generator=draw, dtype=torch.float64)
    values = losses.flatten().tolist()
    if sum(values) / len(values) < threshold:
        values = [min(max(value, 0.0), ceiling) for value in values]
    assert underfit(losses, threshold, ceiling).flatten().tolist() == values


def test_a_mean_at_the_threshold_changes_nothing_and_zeros_stay_zero() -> None:
    losses = torch.tensor([[0.25, 0.75]])
    assert torch.equal(underfit(losses), losses)
    assert torch.equal(underfit(losses - 1e-3), torch.tensor([[0.249, 0.5]]))
    assert torch.equal(underfit(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_what_is_clamped_teaches_nothing() -> None:
    losses = torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    underfit(losses).sum().backward()
    assert losses.grad.tolist() == [1, 1, 0]
    assert torch.autograd.gradcheck(underfit, losses)


# -- types, compilation, errors -------------------------------------------------------------------


def test_half_precision_and_autocast_are_float32(device: torch.device) -> None:
    logits, labels, weights = (tensor.to(device) for tensor in make_case())
    half = logits.bfloat16()
    loss = weighted_cross_entropy(half, labels, weights)
    assert loss.dtype == torch.float32
    assert loss == weighted_cross_entropy(half.float(), labels, weights)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert weighted_cross_entropy(half.float(), labels, weights) == loss
    losses = torch.tensor([0.1, 0.7], device=device).bfloat16()
    assert underfit(losses).dtype == torch.float32
    assert torch.equal(underfit(losses), underfit(losses.float()))


def test_compile_as_one_graph() -> None:
    assert_compiles(weighted_cross_entropy, *make_case(size=(6, 10)))
    assert_compiles(underfit, torch.tensor([0.1, 0.2, 0.9]))


LOGITS, LABELS = torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LOGITS[0], LABELS, LABELS), ShapeError, r"logits: expected shape \(B, C\+1, h, w\), got"),
        ((LOGITS, LABELS.float(), LABELS), TypeError, "labels: expected an integer tensor"),
        ((LOGITS, LABELS + 3, LABELS), ValueError, "labels: expected classes 0..2 .* got 3"),
        ((LOGITS, LABELS, LABELS[0]), ShapeError, r"weights: .* with B=1, H=4, W=4, got \(4, 4\)"),
        ((LOGITS, LABELS, None), TypeError, "weights: expected a tensor .* got NoneType"),
        (
            (LOGITS, LABELS, LABELS, 1.5),
            ValueError,
            r"threshold: expected a number in \[0.0, 1.0\]",
        ),
        ((LOGITS, LABELS, LABELS, "1"), TypeError, "threshold: expected a number, got str"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        weighted_cross_entropy(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.5,), TypeError, "loss_map: expected a tensor, got float"),
        ((LABELS,), TypeError, "loss_map: expected a floating-point tensor"),
        ((LOGITS[:0],), ShapeError, r"loss_map: expected at least one pixel, got \(0, 3, 2, 2\)"),
        ((LOGITS, -1), ValueError, r"threshold: expected a number in \[0.0, inf\], got -1"),
        ((LOGITS, 0.5, float("nan")), ValueError, r"ceiling: expected a number in .* got nan"),
        ((LOGITS, 0.5, "1"), TypeError, "ceiling: expected a number, got str"),
    ],
)
def test_bad_losses_are_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        underfit(*arguments)
