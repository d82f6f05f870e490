"""ReCAM's loss: loops, recorded values, gradients, batches without classes, precision, errors."""

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
from fsr.losses import recam_loss
from tests.helpers import assert_compiles

LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])


def inputs(seed: int = 0, size: tuple[int, int] = (2, 3)) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (4, 5, *size), (3, 5), (3, 5)
    features, first, second = (
        torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes
    )
    return features, first, second


def by_loops(
    features: Tensor, first: Tensor, second: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Loss and accuracy from the formula."""
    f, w, p = (value.numpy() for value in (features, first, second))
    total, right, count = 0.0, 0, 0
    for image, present in zip(f, labels.numpy(), strict=True):
        pixels = image.reshape(image.shape[0], -1)
        losses = []
        for c in np.flatnonzero(present > 0):
            scores = np.array([max(0.0, w[c] @ pixel) for pixel in pixels.T])
            scores = scores / (max(scores) + 1e-5)
            vector = sum(s * pixel for s, pixel in zip(scores, pixels.T, strict=True))
            logits = p @ (vector / len(scores))
            losses.append(np.log(np.exp(logits).sum()) - logits[c])
            right += int(np.argmax(logits) == c)
            count += 1
        total += sum(losses) / max(len(losses), 1)
    return total / len(f), right / max(count, 1)


@pytest.mark.parametrize("size", [(2, 3), (1, 1)])
def test_loss_and_accuracy_are_those_of_the_loops(
    size: tuple[int, int], device: torch.device
) -> None:
    given = inputs(size=size)
    features, first, second = (value.to(device) for value in given)
    loss, accuracy = recam_loss(features, first, second, LABELS.to(device))
    expected = by_loops(*given, LABELS)
    assert (loss.item(), accuracy.item()) == pytest.approx(expected, rel=1e-12)
    convolution = [value[:, :, None, None] for value in given[1:]]
    assert recam_loss(given[0], convolution[0], convolution[1], LABELS)[0] == loss.cpu()


def close(found: Tensor | None, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    assert found is not None
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()), check_dtype=True
    )


@pytest.mark.parametrize("name", ["recam_loss", "recam_uneven", "recam_maps"])
def test_recorded_losses_and_gradients_are_reproduced(
    name: str, parity: Callable[[str], dict[str, Tensor]]
) -> None:
    recorded = parity(f"systems/{name}")
    leaves = {
        key: recorded[f"in_{key}"].clone().requires_grad_()
        for key in ("features", "classifier", "predictor")
    }
    features, first, second = leaves.values()
    loss, accuracy = recam_loss(features, first, second, recorded["in_labels"])
    close(loss, recorded["out_loss"])
    if "out_accuracy" in recorded:
        assert accuracy.item() == pytest.approx(recorded["out_accuracy"].item(), abs=1e-7)
    if name == "recam_maps":
        logits = leaves["features"].mean(dim=(2, 3)) @ leaves["classifier"].flatten(1).T
        total = loss + F.multilabel_soft_margin_loss(logits, recorded["in_labels"])
        total.backward()
        close(leaves["classifier"].grad, recorded["grad_classifier_of_sum_with_soft_margin"])
        return
    loss.backward()
    compared = [key for key in leaves if f"grad_{key}" in recorded]
    assert {"features", "predictor"} <= set(compared)
    for key in compared:
        close(leaves[key].grad, recorded[f"grad_{key}"])


def test_the_gradient_is_right_and_reaches_features_and_both_weights() -> None:
    given = [value.requires_grad_() for value in inputs(2)]
    assert torch.autograd.gradcheck(lambda f, w, p: recam_loss(f, w, p, LABELS)[0], given)
    loss, accuracy = recam_loss(given[0], given[1], given[2], LABELS)
    assert not accuracy.requires_grad
    grads = torch.autograd.grad(loss, given)
    assert all(grad.abs().sum() > 0 for grad in grads)
    # The image without a class teaches nothing.
    assert torch.equal(grads[0].flatten(1).abs().sum(1) > 0, LABELS.any(dim=1))


def test_a_batch_without_any_class_is_an_attached_zero() -> None:
    given = [value.requires_grad_() for value in inputs()]
    loss, accuracy = recam_loss(given[0], given[1], given[2], 0 * LABELS)
    assert (loss.item(), accuracy.item(), loss.requires_grad) == (0.0, 0.0, True)
    assert all(torch.equal(g, torch.zeros_like(g)) for g in torch.autograd.grad(loss, given))


def test_a_class_whose_map_is_zero_everywhere_is_a_uniform_guess() -> None:
    features, _, second = inputs()
    features = features.abs().requires_grad_()
    loss, _ = recam_loss(features, -torch.ones(3, 5), second, LABELS[2:3].expand(4, 3))
    assert loss.item() == pytest.approx(np.log(3))
    (gradient,) = torch.autograd.grad(loss, features)
    assert torch.isfinite(gradient).all()


@given(st.integers(0, 1000))
def test_the_order_of_images_pixels_and_classes_does_not_matter(seed: int) -> None:
    # Of positive numbers: the scores of a map of zeros are all 0, and the first of them wins.
    features, first, second = (value.abs() for value in inputs(seed))
    generator = torch.Generator().manual_seed(seed)
    images, classes, pixels = (torch.randperm(n, generator=generator) for n in (4, 3, 6))
    moved = features[images].flatten(2)[..., pixels].view_as(features)
    expected = recam_loss(features, first, second, LABELS)
    found = recam_loss(moved, first[classes], second[classes], LABELS[images][:, classes])
    torch.testing.assert_close(found, expected)
    # The weight of the classifier has no scale, but for the 1e-5.
    scaled = recam_loss(features, 1e3 * first, second, LABELS)
    torch.testing.assert_close(scaled[0], expected[0], rtol=1e-3, atol=0)


def test_precision() -> None:
    features, first, second = (value.float() for value in inputs())
    expected = recam_loss(features, first, second, LABELS)
    for dtype in (torch.float16, torch.bfloat16):
        half = [value.to(dtype) for value in (features, first, second)]
        found = recam_loss(half[0], half[1], half[2], LABELS)
        whole = recam_loss(half[0].float(), half[1].float(), half[2].float(), LABELS)
        assert found[0].dtype == found[1].dtype == torch.float32
        assert torch.equal(found[0], whole[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(recam_loss(features, first, second, LABELS)[0], expected[0])
    assert_compiles(recam_loss, features, first, second, LABELS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": torch.zeros(2, 5, 4)}, ShapeError, r"features: .*\(B, D, H, W\)"),
        (
            {"features": torch.zeros(2, 5, 0, 4)},
            ShapeError,
            "features: expected at least one pixel",
        ),
        ({"features": torch.zeros(2, 5, 3, 4).int()}, TypeError, "features: .*floating"),
        ({"class_weight": torch.zeros(3, 4)}, ShapeError, "class_weight: .*D=5"),
        ({"predictor_weight": torch.zeros(2, 5)}, ShapeError, "predictor_weight: .*C=3"),
        ({"predictor_weight": torch.zeros(3, 5).int()}, TypeError, "predictor_weight: .*floating"),
        ({"labels": torch.zeros(2, 4)}, ShapeError, "labels: .*B=2, C=3"),
    ],
)
def test_bad_input_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {
        "features": torch.zeros(2, 5, 3, 4),
        "class_weight": torch.zeros(3, 5),
        "predictor_weight": torch.zeros(3, 5),
        "labels": torch.ones(2, 3),
    }
    with pytest.raises(error, match=message):
        recam_loss(**(given | changes))
