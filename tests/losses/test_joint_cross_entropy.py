"""RRM's joint cross entropy, and the cross entropy of every pixel that it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.losses import balanced_segmentation_loss, joint_cross_entropy, pixel_cross_entropy
from tests.helpers import assert_compiles

IGNORE = 255


def make_case(seed: int = 0, size: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, *size), generator=draw)
    labels[torch.rand(2, *size, generator=draw) < 0.3] = IGNORE
    return logits, labels


def entropy_by_loops(logits: Tensor, labels: Tensor) -> Tensor:
    found = torch.zeros(labels.shape, dtype=torch.float64)
    for b, y, x in np.ndindex(labels.shape):
        label = int(labels[b, y, x])
        if label != IGNORE:
            scores = logits[b, :, y, x].numpy()
            found[b, y, x] = np.log(np.exp(scores).sum()) - scores[label]
    return found


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("systems/rrm_joint_loss")
    logits = arrays["in_logits"].requires_grad_()
    loss = joint_cross_entropy(logits, arrays["in_labels"])
    loss.backward()
    torch.testing.assert_close(loss, arrays["out_cross_entropy"], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, arrays["grad_logits"], rtol=1e-5, atol=1e-8)


@given(seed=st.integers(0, 2**16), larger=st.booleans())
def test_is_the_sum_of_two_means_of_plain_loops(seed: int, larger: bool) -> None:
    logits, labels = make_case(seed, (7, 6) if larger else (3, 5))
    resized = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    entropy = entropy_by_loops(resized, labels)
    parts = [entropy[labels == 0], entropy[(labels > 0) & (labels < IGNORE)]]
    expected = sum(part.mean().item() for part in parts if part.numel())
    loss = joint_cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert loss == 2 * balanced_segmentation_loss(logits, labels)
    torch.testing.assert_close(pixel_cross_entropy(logits, labels), entropy)


def test_a_part_without_pixels_adds_nothing_and_none_at_all_is_an_attached_zero() -> None:
    logits = make_case()[0].requires_grad_()
    for label in (0, 2):
        labels = torch.full((2, 3, 5), label)
        torch.testing.assert_close(
            joint_cross_entropy(logits, labels), F.cross_entropy(logits, labels)
        )
    loss = joint_cross_entropy(logits, torch.full((2, 6, 10), IGNORE))
    assert loss == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_another_ignore_index() -> None:
    logits, labels = make_case()
    other = labels.masked_fill(labels == IGNORE, -1)
    assert joint_cross_entropy(logits, other, -1) == joint_cross_entropy(logits, labels)
    entropy = pixel_cross_entropy(logits, other, -1)
    assert torch.equal(entropy, pixel_cross_entropy(logits, labels))


def test_gradients_are_those_of_finite_differences() -> None:
    logits, labels = make_case(size=(6, 10))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: joint_cross_entropy(x, labels), logits)
    assert torch.autograd.gradcheck(lambda x: pixel_cross_entropy(x, labels), logits)


def test_half_precision_and_autocast_are_float32(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case())
    half = logits.bfloat16()
    for function in (joint_cross_entropy, pixel_cross_entropy):
        found = function(half, labels)
        assert found.dtype == torch.float32
        assert torch.equal(found, function(half.float(), labels.byte()))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            assert torch.equal(function(half.float(), labels), found)


def test_compile_as_one_graph() -> None:
    assert_compiles(joint_cross_entropy, *make_case(size=(6, 10)))
    assert_compiles(pixel_cross_entropy, *make_case(size=(6, 10)))


LOGITS, LABELS = torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long)


@pytest.mark.parametrize("function", [joint_cross_entropy, pixel_cross_entropy])
@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (LOGITS[0], LABELS, ShapeError, r"logits: expected shape \(B, C\+1, h, w\), got"),
        (LOGITS, LABELS.repeat(2, 1, 1), ShapeError, r"labels: .* with B=1, got \(2, 4, 4\)"),
        (LOGITS.long(), LABELS, TypeError, "logits: expected a floating-point tensor"),
        (LOGITS, LABELS.float(), TypeError, "labels: expected an integer tensor, got"),
        (LOGITS[..., :0], LABELS, ShapeError, "logits: expected at least one pixel"),
        (LOGITS, LABELS + 3, ValueError, r"labels: expected classes 0..2 .* or 255, got 3"),
    ],
)
def test_bad_input_is_refused(
    function: Callable[[Tensor, Tensor], Tensor],
    logits: Tensor,
    labels: Tensor,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        function(logits, labels)
