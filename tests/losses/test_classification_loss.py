"""Classification loss: one binary cross entropy per class and image, averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import classification_loss
from tests.helpers import assert_compiles


def make_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Scores and multi-hot labels of three images; the last one has no class."""
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    return torch.randn(3, 4, dtype=dtype), labels


def test_matches_plain_loops() -> None:
    logits, labels = make_case()
    total = 0.0
    for b, c in np.ndindex(3, 4):
        probability = 1 / (1 + np.exp(-logits[b, c].item()))
        total -= np.log(probability if labels[b, c] == 1 else 1 - probability)
    assert classification_loss(logits, labels).item() == pytest.approx(total / 12, rel=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    logits, labels = make_case()
    assert torch.autograd.gradcheck(
        lambda x: classification_loss(x, labels), logits.requires_grad_()
    )


def test_row_without_classes_pushes_every_class_down() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    classification_loss(logits, torch.zeros(1, 3)).backward()
    assert (logits.grad > 0).all()


def test_permuting_classes_changes_nothing() -> None:
    logits, labels = make_case()
    order = torch.tensor([2, 0, 3, 1])
    expected = classification_loss(logits, labels)
    torch.testing.assert_close(classification_loss(logits[:, order], labels[:, order]), expected)


def test_images_do_not_influence_each_other() -> None:
    logits, labels = make_case()
    alone = [classification_loss(logits[b : b + 1], labels[b : b + 1]) for b in range(3)]
    torch.testing.assert_close(classification_loss(logits, labels), sum(alone) / 3)


@given(seed=st.integers(0, 2**16), magnitude=st.sampled_from([0.0, 1.0, 1e4, 1e30]))
def test_never_nan_for_finite_input(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (magnitude * torch.randn(2, 5, generator=generator)).requires_grad_()
    labels = torch.randint(0, 2, (2, 5), generator=generator)
    loss = classification_loss(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_labels_of_any_type(dtype: torch.dtype) -> None:
    logits, labels = make_case()
    assert classification_loss(logits, labels.to(dtype)) == classification_loss(logits, labels)


def test_float64_stays_float64(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case())
    loss = classification_loss(logits, labels)
    assert loss.dtype == torch.float64
    assert loss.device.type == device.type


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case(dtype=torch.bfloat16))
    loss = classification_loss(logits, labels)
    assert loss.dtype == torch.float32
    assert loss == classification_loss(logits.float(), labels)


def test_autocast_changes_nothing(device: torch.device) -> None:
    logits, labels = (tensor.to(device) for tensor in make_case(dtype=torch.float32))
    expected = classification_loss(logits, labels)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert classification_loss(logits, labels) == expected


def test_compiles_as_one_graph() -> None:
    assert_compiles(classification_loss, *make_case())


LOGITS, LABELS = torch.zeros(2, 3), torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (LOGITS[0], LABELS, ShapeError, r"logits: expected shape \(B, C\), got \(3,\)"),
        (LOGITS, LABELS[:, :2], ShapeError, r"labels: expected .* B=2, C=3, got \(2, 2\)"),
        (LOGITS, torch.tensor([0, 2]), ShapeError, r"labels: expected shape \(B, C\)"),
        (LOGITS.long(), LABELS, TypeError, "logits: expected a floating-point tensor"),
        (LOGITS, [[1, 0, 0]] * 2, TypeError, "labels: expected a tensor .* got list"),
        (LOGITS[:, :0], LABELS[:, :0], ShapeError, "logits: expected at least one class"),
        (LOGITS[:0], LABELS[:0], ShapeError, "logits: expected at least one image and class"),
        (LOGITS, LABELS - 1, ValueError, "labels: expected values between 0 and 1"),
        (LOGITS, LABELS + 255, ValueError, "labels: .* values from 255 to 255"),
        (LOGITS, LABELS + float("nan"), ValueError, "labels: .* got NaN"),
    ],
)
def test_bad_input_is_refused(
    logits: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        classification_loss(logits, labels)
