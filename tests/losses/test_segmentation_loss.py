"""Balanced segmentation loss: two means of cross entropies, and what has no pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.losses import balanced_segmentation_loss
from tests.helpers import assert_compiles

IGNORE = 255


def make_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Logits of three classes with background, and labels of every kind, not square."""
    logits = torch.randn(2, 4, 3, 5, dtype=dtype)
    labels = torch.randint(0, 4, (2, 3, 5))
    labels[:, 1, ::2] = IGNORE
    return logits, labels


def reference(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Cross entropy pixel by pixel, gathered by kind."""
    parts: dict[bool, list[float]] = {True: [], False: []}
    for b, row, column in np.ndindex(labels.shape):
        label = int(labels[b, row, column])
        if label != IGNORE:
            scores = logits[b, :, row, column]
            entropy = np.log(np.sum(np.exp(scores - scores.max()))) + scores.max() - scores[label]
            parts[label == 0].append(float(entropy))
    return sum(0.5 * sum(part) / len(part) for part in parts.values() if part)


def test_matches_plain_loops() -> None:
    for _ in range(3):
        logits, labels = make_case()
        expected = reference(logits.numpy(), labels.numpy())
        actual = balanced_segmentation_loss(logits, labels).item()
        assert actual == pytest.approx(expected, rel=1e-12)


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("seg_loss")
    logits = arrays["logits"].requires_grad_()
    loss = balanced_segmentation_loss(logits, arrays["labels"])
    loss.backward()
    torch.testing.assert_close(loss, arrays["loss"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logits.grad, arrays["grad"], rtol=1e-5, atol=1e-8)


def test_gradient_is_that_of_finite_differences() -> None:
    logits, labels = make_case()
    larger = labels.repeat_interleave(2, 1).repeat_interleave(3, 2)
    for target in (labels, larger):
        assert torch.autograd.gradcheck(
            lambda x, target=target: balanced_segmentation_loss(x, target), logits.requires_grad_()
        )


def test_logits_are_interpolated_to_the_size_of_the_labels() -> None:
    logits, _ = make_case()
    labels = torch.randint(0, 4, (2, 7, 12))
    resized = F.interpolate(logits, size=(7, 12), mode="bilinear", align_corners=False)
    expected = reference(resized.numpy(), labels.numpy())
    actual = balanced_segmentation_loss(logits, labels).item()
    assert actual == pytest.approx(expected, rel=1e-12)


# -- balance --------------------------------------------------------------------------------------


def test_background_and_foreground_weigh_the_same_however_many_pixels() -> None:
    logits = torch.randn(1, 3, 1, 6, dtype=torch.float64)
    labels = torch.tensor([[[0, 0, 0, 0, 0, 1]]])
    entropy = F.cross_entropy(logits, labels, reduction="none")[0, 0]
    expected = (entropy[:5].mean() + entropy[5]) / 2
    torch.testing.assert_close(balanced_segmentation_loss(logits, labels), expected)


def test_renaming_the_foreground_classes_changes_nothing() -> None:
    logits, labels = make_case()
    order = torch.tensor([0, 3, 1, 2])
    renamed = labels.clone()
    for new, old in enumerate(order.tolist()):
        renamed[labels == old] = new
    expected = balanced_segmentation_loss(logits, labels)
    torch.testing.assert_close(balanced_segmentation_loss(logits[:, order], renamed), expected)


# -- nothing to do, and extreme values ------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 2])
def test_part_without_pixels_adds_nothing(label: int) -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.full((2, 4, 5), label)
    loss = balanced_segmentation_loss(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels) / 2)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_everything_ignored_gives_an_attached_zero() -> None:
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    loss = balanced_segmentation_loss(logits, torch.full((1, 8, 10), IGNORE))
    assert loss == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ignored_pixels_do_not_count() -> None:
    logits, labels = make_case()
    changed = torch.where((labels == IGNORE).unsqueeze(1), 50.0, logits)
    assert balanced_segmentation_loss(changed, labels) == balanced_segmentation_loss(logits, labels)


def test_another_ignore_index() -> None:
    logits, labels = make_case()
    other = labels.masked_fill(labels == IGNORE, -1)
    expected = balanced_segmentation_loss(logits, labels)
    assert balanced_segmentation_loss(logits, other, ignore_index=-1) == expected


@given(
    seed=st.integers(0, 2**16),
    magnitude=st.sampled_from([0.0, 1.0, 1e4, 1e30]),
    ignored=st.floats(0.0, 1.0),
    size=st.sampled_from([(3, 4), (1, 1), (5, 7)]),
)
def test_never_nan_for_finite_input(
    seed: int, magnitude: float, ignored: float, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(2, 3, 3, 4, generator=generator)
    labels = torch.randint(0, 3, (2, *size), generator=generator)
    labels[torch.rand(2, *size, generator=generator) < ignored] = IGNORE
    loss = balanced_segmentation_loss(logits.requires_grad_(), labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.isfinite(logits.grad).all()


# -- types, compilation ---------------------------------------------------------------------------


def test_float64_stays_float64(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case())
    loss = balanced_segmentation_loss(logits, labels)
    assert loss.dtype == torch.float64
    assert loss.device.type == device.type


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case(dtype=torch.bfloat16))
    loss = balanced_segmentation_loss(logits, labels)
    assert loss.dtype == torch.float32
    assert loss == balanced_segmentation_loss(logits.float(), labels)


def test_autocast_changes_nothing(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case(dtype=torch.float32))
    expected = balanced_segmentation_loss(logits, labels)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert balanced_segmentation_loss(logits, labels) == expected


def test_byte_labels() -> None:
    logits, labels = make_case()
    expected = balanced_segmentation_loss(logits, labels)
    assert balanced_segmentation_loss(logits, labels.byte()) == expected


def test_compiles_as_one_graph() -> None:
    assert_compiles(balanced_segmentation_loss, *make_case())


# -- errors ---------------------------------------------------------------------------------------

LOGITS, LABELS = torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (LOGITS[0], LABELS, ShapeError, r"logits: expected shape \(B, C\+1, h, w\), got"),
        (LOGITS, LABELS[0], ShapeError, r"labels: expected shape \(B, H, W\) with B=1, got"),
        (LOGITS, LABELS.repeat(2, 1, 1), ShapeError, r"labels: .* with B=1, got \(2, 4, 4\)"),
        (LOGITS.long(), LABELS, TypeError, "logits: expected a floating-point tensor"),
        (LOGITS, LABELS.float(), TypeError, "labels: expected an integer tensor, got"),
        (LOGITS, LABELS.bool(), TypeError, "labels: expected an integer tensor, got torch.bool"),
        (LOGITS, None, TypeError, "labels: expected a tensor .* got NoneType"),
        (LOGITS[..., :0], LABELS, ShapeError, "logits: expected at least one pixel"),
        (LOGITS, LABELS + 3, ValueError, r"labels: expected classes 0..2 .* or 255, got 3"),
        (LOGITS, LABELS - 1, ValueError, r"labels: expected classes 0..2 .* or 255, got -1"),
    ],
)
def test_bad_input_is_refused(
    logits: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        balanced_segmentation_loss(logits, labels)
