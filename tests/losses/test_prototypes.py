"""RRM's feature loss: recorded values, plain loops, and batches without this or that."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import prototype_loss
from tests.helpers import assert_compiles


def make_case(
    seed: int = 0, batch: int = 2, classes: int = 3, size: tuple[int, int] = (3, 4)
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    segmentation = torch.randn(batch, classes + 1, *size, generator=draw, dtype=torch.float64)
    features = torch.randn(batch, 5, *size, generator=draw, dtype=torch.float64)
    return segmentation, features


def chosen(labels: list[list[int]], classes: int = 3) -> Tensor:
    """Scores ``(B, C+1, 1, n)`` whose largest are those labels."""
    return torch.nn.functional.one_hot(torch.tensor(labels), classes + 1).double().mT[:, :, None]


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def by_loops(segmentation: Tensor, features: Tensor) -> float:
    """Compactness and separation centre by centre, from the formula."""
    batch = segmentation.shape[0]
    members: dict[tuple[str, int], list[list[float]]] = {}
    for b in range(batch):
        pixels = features[b].flatten(1).T.tolist()
        for label, pixel in zip(segmentation[b].argmax(0).flatten().tolist(), pixels, strict=True):
            name = ("background", b) if label == 0 else ("class", label)
            members.setdefault(name, []).append(pixel)
    centres = {k: [sum(x) / len(v) for x in zip(*v, strict=True)] for k, v in members.items()}
    apart = [
        sum(1 - cosine(pixel, centres[name]) for pixel in pixels) / len(pixels)
        for name, pixels in members.items()
    ]
    missing = [2.0] * sum(("background", b) not in members for b in range(batch))
    compactness = sum(apart + missing) / len(apart + missing)
    classes = [centre for (kind, _), centre in centres.items() if kind == "class"]
    grounds = [centre for (kind, _), centre in centres.items() if kind == "background"]
    if not classes:
        return compactness
    pairs = [
        1 + cosine(a, b) for i, a in enumerate(classes) for j, b in enumerate(classes) if i != j
    ]
    first = sum(pairs) / len(pairs) if pairs else 0.0
    against = [1 + cosine(a, b) for a, b in product(classes, grounds)]
    second = sum(against) / len(against) if against else 2.0
    return compactness + 0.5 * first + 0.5 * second


# -- values and gradients -------------------------------------------------------------------------


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("systems/rrm_feature_loss")
    features = arrays["in_features"].float().requires_grad_()
    loss = prototype_loss(arrays["in_segmentation"], features)
    loss.backward()
    torch.testing.assert_close(loss, arrays["out_loss"], rtol=1e-5, atol=0)
    expected = arrays["grad_features_first8"]
    tolerance = 1e-5 * expected.abs().max().item()
    torch.testing.assert_close(features.grad[:, :8], expected, rtol=0, atol=tolerance)


@given(
    seed=st.integers(0, 2**16),
    batch=st.integers(1, 3),
    classes=st.integers(1, 4),
    size=st.sampled_from([(1, 1), (1, 2), (3, 4)]),
)
def test_matches_plain_loops(seed: int, batch: int, classes: int, size: tuple[int, int]) -> None:
    case = make_case(seed, batch, classes, size)
    assert prototype_loss(*case).item() == pytest.approx(by_loops(*case), rel=1e-9)


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 0, 0, 0], [0, 0, 0, 0]],  # no foreground
        [[1, 2, 2, 1], [3, 3, 1, 1]],  # no background
        [[1, 1, 1, 1], [1, 1, 1, 1]],  # one class alone
        [[0, 1, 1, 0], [1, 1, 1, 1]],  # an image without background
        [[0, 1, 0, 2], [0, 0, 0, 0]],
    ],
)
def test_batches_without_this_or_that(labels: list[list[int]]) -> None:
    features = torch.randn(2, 5, 1, 4, dtype=torch.float64, requires_grad=True)
    loss = prototype_loss(chosen(labels), features)
    assert loss.item() == pytest.approx(by_loops(chosen(labels), features.detach()), rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: prototype_loss(chosen(labels), x), features)


def test_values_of_batches_with_one_feature_everywhere() -> None:
    features = torch.ones(2, 5, 1, 4, dtype=torch.float64)

    def loss(labels: list[list[int]]) -> float:
        return prototype_loss(chosen(labels), features).item()

    # All compact. Centres that coincide cost 2 a pair, backgrounds that are missing 2 each.
    assert loss([[0, 0, 0, 0], [0, 0, 0, 0]]) == pytest.approx(0)
    assert loss([[0, 1, 1, 2], [0, 1, 1, 2]]) == pytest.approx(0.5 * 2 + 0.5 * 2)
    assert loss([[0, 1, 1, 1], [0, 1, 1, 1]]) == pytest.approx(0.5 * 2)
    assert loss([[1, 1, 1, 1], [1, 1, 1, 1]]) == pytest.approx((2 + 2) / 3 + 1)
    assert loss([[0, 1, 1, 1], [1, 1, 1, 1]]) == pytest.approx(2 / 3 + 0.5 * 2)


def test_gradient_is_that_of_finite_differences() -> None:
    segmentation, features = make_case()
    segmentation.requires_grad_()
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: prototype_loss(segmentation, x), features)
    prototype_loss(segmentation, features).backward()
    assert segmentation.grad is None


# -- properties -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 10))
def test_neither_the_length_of_features_nor_the_order_of_classes_and_images_matters(
    seed: int, scale: float
) -> None:
    segmentation, features = make_case(seed)
    expected = prototype_loss(segmentation, features)
    torch.testing.assert_close(prototype_loss(segmentation, scale * features), expected)
    order = torch.tensor([0, 3, 1, 2])
    torch.testing.assert_close(prototype_loss(segmentation[:, order], features), expected)
    torch.testing.assert_close(prototype_loss(segmentation.flip(0), features.flip(0)), expected)


@given(seed=st.integers(0, 2**16), magnitude=st.sampled_from([0.0, 1e-30, 1.0, 1e30]))
def test_bounded_and_never_nan(seed: int, magnitude: float) -> None:
    segmentation, features = make_case(seed)
    features = (magnitude * features.float()).requires_grad_()
    loss = prototype_loss(segmentation, features)
    loss.backward()
    assert -1e-6 <= loss.item() <= 4 + 1e-6
    assert torch.isfinite(features.grad).all()


# -- types, compilation, errors -------------------------------------------------------------------


def test_half_precision_and_autocast_are_float32(device: torch.device) -> None:
    segmentation, features = (tensor.to(device) for tensor in make_case())
    half = features.bfloat16()
    loss = prototype_loss(segmentation, half)
    assert loss.dtype == torch.float32
    assert loss == prototype_loss(segmentation, half.float())
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert prototype_loss(segmentation, half.float()) == loss
    assert prototype_loss(segmentation, features).dtype == torch.float64


def test_compiles_as_one_graph() -> None:
    assert_compiles(prototype_loss, *make_case())


SEGMENTATION, FEATURES = torch.zeros(1, 3, 2, 4), torch.zeros(1, 5, 2, 4)


@pytest.mark.parametrize(
    ("segmentation", "features", "error", "message"),
    [
        (SEGMENTATION[0], FEATURES, ShapeError, r"segmentation: expected shape \(B, C\+1, h, w\)"),
        (SEGMENTATION, FEATURES[..., :2], ShapeError, r"features: .* with B=1, h=2, w=4, got"),
        (SEGMENTATION, None, TypeError, "features: expected a tensor .* got NoneType"),
        (SEGMENTATION.long(), FEATURES, TypeError, "segmentation: expected a floating-point"),
        (SEGMENTATION, FEATURES.long(), TypeError, "features: expected a floating-point tensor"),
        (SEGMENTATION, FEATURES[:, :0], ShapeError, "features: expected at least one feature"),
        (SEGMENTATION / 0, FEATURES, ValueError, "segmentation: expected finite values, got NaN"),
        (SEGMENTATION, FEATURES / 0, ValueError, "features: expected finite values, got NaN"),
    ],
)
def test_bad_input_is_refused(
    segmentation: Tensor, features: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prototype_loss(segmentation, features)
