"""Class activation maps: Eq. 2, labels, flips and scales."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.numerics import at_least_float32
from fsr.cam import (
    cam_to_labels,
    class_activation_maps,
    keep_present,
    merge_flip,
    normalize_cam,
    resize_cam,
    sum_scales,
)
from tests.helpers import assert_compiles

Load = Callable[[str], dict[str, Tensor]]
Array = NDArray[np.float64]


def random_cam(batch: int = 2, classes: int = 3, height: int = 4, width: int = 6) -> Tensor:
    """Raw scores of both signs."""
    return torch.randn(batch, classes, height, width)


# -- plain loops written from the paper -----------------------------------------------------------


def numpy_normalized(raw: Array) -> Array:
    """Min-max of the positive part over the pixels of every map, Eq. 2."""
    result = np.zeros_like(raw)
    for b in range(raw.shape[0]):
        for c in range(raw.shape[1]):
            pixels = [[max(value, 0.0) for value in row] for row in raw[b, c]]
            low, high = min(map(min, pixels)), max(map(max, pixels))
            for i, row in enumerate(pixels):
                for j, value in enumerate(row):
                    result[b, c, i, j] = (value - low) / (high - low + 1e-5)
    return result


def numpy_labels(cam: Array, labels: Array, background: float, ignore: float) -> NDArray[np.int64]:
    """The best present class where its score exceeds both borders."""
    batch, classes, height, width = cam.shape
    result = np.zeros((batch, height, width), dtype=np.int64)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                present = [(cam[b, c, i, j], c) for c in range(classes) if labels[b, c] > 0]
                if not present or max(present)[0] <= background:
                    continue
                score, best = max(present)
                result[b, i, j] = 255 if score <= ignore else best + 1
    return result


def test_scores_are_the_positive_part_of_token_times_weight() -> None:
    tokens, weight = torch.randn(2, 12, 5), torch.randn(3, 5)
    maps = class_activation_maps(tokens, weight, (3, 4))
    assert maps.shape == (2, 3, 3, 4)
    for b in range(2):
        for c in range(3):
            for i in range(3):
                for j in range(4):
                    token = tokens[b, i * 4 + j]
                    product = sum(token[d].item() * weight[c, d].item() for d in range(5))
                    assert maps[b, c, i, j].item() == pytest.approx(max(product, 0.0), abs=1e-6)


def test_normalisation_by_plain_loops() -> None:
    raw = random_cam().double()
    np.testing.assert_allclose(
        normalize_cam(raw).numpy(), numpy_normalized(raw.numpy()), atol=1e-12
    )


@pytest.mark.parametrize("borders", [{"low": 0.3, "high": 0.6}, {"threshold": 0.45}])
def test_labels_by_plain_loops(borders: dict[str, float]) -> None:
    cam = torch.rand(3, 4, 5, 7, dtype=torch.float64)
    labels = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    result = cam_to_labels(cam, labels, **borders)
    background, ignore = (min(borders.values()), max(borders.values()))
    assert result.dtype == torch.int64
    np.testing.assert_array_equal(
        result.numpy(), numpy_labels(cam.numpy(), labels.numpy(), background, ignore)
    )


def test_scales_and_flips_by_plain_loops() -> None:
    cams = [random_cam().double() for _ in range(3)]
    flipped = [random_cam().double() for _ in range(3)]
    merged = [merge_flip(*pair) for pair in zip(cams, flipped, strict=True)]
    total = np.zeros((2, 3, 4, 6))
    for cam, mirror in zip(cams, flipped, strict=True):
        for j in range(6):
            best = np.maximum(cam[..., j].numpy(), mirror[..., 5 - j].numpy())
            total[..., j] += np.maximum(best, 0)
    np.testing.assert_allclose(sum_scales(merged).numpy(), numpy_normalized(total), atol=1e-12)


def test_resizing_by_plain_loops() -> None:
    cam = random_cam(1, 2, 3, 4).double()
    for height, width in ((7, 9), (2, 3), (3, 4)):
        result = resize_cam(cam, (height, width))
        for i in range(height):
            for j in range(width):
                # Centre of the pixel in the coordinates of the source, held inside it.
                y = min(max((i + 0.5) * 3 / height - 0.5, 0), 2)
                x = min(max((j + 0.5) * 4 / width - 0.5, 0), 3)
                expected = sum(
                    cam[0, :, r, c] * max(0, 1 - abs(y - r)) * max(0, 1 - abs(x - c))
                    for r in range(3)
                    for c in range(4)
                )
                torch.testing.assert_close(result[0, :, i, j], expected)


# -- recorded values ------------------------------------------------------------------------------


def test_cams_of_the_released_code(parity: Load) -> None:
    arrays = parity("cam")
    normalised = normalize_cam(arrays["raw"])
    torch.testing.assert_close(normalised, arrays["normalised"], rtol=0, atol=1e-6)
    valid = keep_present(arrays["normalised"], arrays["labels"])
    torch.testing.assert_close(valid, arrays["valid"], rtol=0, atol=0)

    low, high = arrays["low"].item(), arrays["high"].item()
    labels = cam_to_labels(arrays["normalised"], arrays["labels"], low=low, high=high)
    assert torch.equal(labels, arrays["label_ignore_mid"])
    threshold = arrays["background"].item()
    labels = cam_to_labels(arrays["normalised"], arrays["labels"], threshold=threshold)
    assert torch.equal(labels, arrays["label_background"])


def test_scores_of_the_released_network(parity: Load) -> None:
    arrays = parity("network")
    text = (Path(__file__).parents[1] / "parity" / "network.json").read_text()
    shapes = json.loads(text)["shapes"]
    # The weight by the rule of tests/parity/README.md.
    name = "top_classifier.weight"
    classes, width = shapes[name][:2]
    i = np.arange(classes * width, dtype=np.float64)
    wave = np.sin(12.9898 * i + 78.233 * sorted(shapes).index(name)) * 43758.5453
    values = (wave - np.floor(wave) - 0.5) * np.sqrt(12 / width)
    weight = torch.from_numpy(values.reshape(classes, width).astype(np.float32))

    tokens = arrays["feature_map"].flatten(2).transpose(1, 2)
    maps = class_activation_maps(tokens, weight, (4, 4))
    torch.testing.assert_close(maps, arrays["cam_raw"], rtol=1e-4, atol=1e-5)


# -- properties -----------------------------------------------------------------------------------


@given(st.integers(0, 2**31))
def test_flipping_commutes_with_every_step(seed: int) -> None:
    torch.manual_seed(seed)
    cam, other, labels = random_cam(), random_cam(), torch.randint(2, (2, 3))
    assert torch.equal(normalize_cam(cam.flip(3)), normalize_cam(cam).flip(3))
    assert torch.equal(normalize_cam(cam.flip(2)), normalize_cam(cam).flip(2))
    assert torch.equal(sum_scales([cam.flip(3), other.flip(3)]), sum_scales([cam, other]).flip(3))
    assert torch.equal(merge_flip(other.flip(3), cam.flip(3)), merge_flip(other, cam).flip(3))
    resized = resize_cam(cam.flip(3), (9, 11))
    torch.testing.assert_close(resized, resize_cam(cam, (9, 11)).flip(3))
    cam = torch.rand_like(cam)
    flipped = cam_to_labels(cam.flip(3), labels, low=0.4, high=0.8)
    assert torch.equal(flipped, cam_to_labels(cam, labels, low=0.4, high=0.8).flip(2))


@given(st.integers(0, 2**31), st.permutations(range(3)))
def test_permuting_the_classes_permutes_the_results(seed: int, order: list[int]) -> None:
    torch.manual_seed(seed)
    tokens, weight = torch.randn(2, 24, 5), torch.randn(3, 5)
    cam, labels = class_activation_maps(tokens, weight, (4, 6)), torch.randint(2, (2, 3))
    permuted = class_activation_maps(tokens, weight[order], (4, 6))
    torch.testing.assert_close(permuted, cam[:, order])
    cam = normalize_cam(cam)
    assert torch.equal(normalize_cam(cam[:, order]), normalize_cam(cam)[:, order])

    result = cam_to_labels(cam, labels, low=0.2, high=0.5)
    names = torch.full((256,), 255)
    names[0] = 0
    names[1:4] = torch.tensor(order) + 1
    permuted = cam_to_labels(cam[:, order], labels[:, order], low=0.2, high=0.5)
    assert torch.equal(names[permuted], result)


@given(st.integers(0, 2**31))
def test_one_image_does_not_depend_on_its_batch(seed: int) -> None:
    torch.manual_seed(seed)
    cam, labels = random_cam(4), torch.randint(2, (4, 3))
    normalised = normalize_cam(cam)
    together = cam_to_labels(normalised, labels, threshold=0.3)
    for i in range(4):
        one = slice(i, i + 1)
        assert torch.equal(normalize_cam(cam[one]), normalised[one])
        alone = cam_to_labels(normalised[one], labels[one], threshold=0.3)
        assert torch.equal(alone, together[one])


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.floats(0, 1e3))
def test_the_normalised_map_ignores_scale_and_positive_shift(
    seed: int, scale: float, shift: float
) -> None:
    torch.manual_seed(seed)
    cam = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    expected = normalize_cam(cam, eps=1e-12)
    other = normalize_cam(cam * scale + shift, eps=1e-12)
    torch.testing.assert_close(other, expected, rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_every_normalised_map_lies_between_zero_and_one(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    for cam in (normalize_cam(random_cam() * scale), sum_scales([random_cam() * scale] * 2)):
        assert cam.min() == 0
        assert cam.max() <= 1


def test_scores_up_to_a_threshold_are_below_it() -> None:
    cam = torch.tensor([[[[0.0, 0.2, 0.21, 0.7, 0.71, 1.0]]]])
    labels = torch.ones(1, 1)
    result = cam_to_labels(cam, labels, low=0.2, high=0.7)
    assert result.tolist() == [[[0, 0, 255, 255, 1, 1]]]
    assert cam_to_labels(cam, labels, threshold=0.7).tolist() == [[[0, 0, 0, 0, 1, 1]]]
    result = cam_to_labels(cam, labels, low=0.2, high=0.7, ignore_index=-1)
    assert result.tolist() == [[[0, 0, -1, -1, 1, 1]]]
    assert cam_to_labels(cam, labels, threshold=0).tolist() == [[[0, 1, 1, 1, 1, 1]]]


def test_absent_classes_never_win() -> None:
    cam = torch.stack([torch.full((2, 3), 0.9), torch.full((2, 3), 0.3)])[None]
    result = cam_to_labels(cam, torch.tensor([[0.0, 1.0]]), threshold=0.2)
    assert (result == 2).all()
    assert torch.equal(keep_present(cam, torch.tensor([[0, 1]]))[:, 0], torch.zeros(1, 2, 3))
    assert torch.equal(keep_present(cam, torch.tensor([[True, True]])), cam)


def test_an_image_without_a_class_is_background() -> None:
    cam, none = torch.ones(2, 3, 4, 5), torch.zeros(2, 3)
    assert (cam_to_labels(cam, none, low=0.0, high=0.5) == 0).all()
    assert (cam_to_labels(cam, none, threshold=0.0) == 0).all()


@pytest.mark.parametrize("value", [-3.0, 0.0, 2.0])
def test_a_constant_map_becomes_zero(value: float) -> None:
    constant = torch.full((1, 2, 3, 4), value)
    assert torch.equal(normalize_cam(constant), torch.zeros(1, 2, 3, 4))
    assert torch.equal(sum_scales([constant]), torch.zeros(1, 2, 3, 4))
    assert torch.equal(normalize_cam(constant[..., :1, :1]), torch.zeros(1, 2, 1, 1))


def test_one_scale_is_the_normalised_map() -> None:
    cam = random_cam()
    assert torch.equal(sum_scales([cam]), normalize_cam(cam))
    assert torch.equal(sum_scales([cam, cam]), sum_scales((cam, cam)))


def test_a_one_by_one_convolution_is_a_weight() -> None:
    tokens, layer = torch.randn(2, 6, 5), torch.nn.Conv2d(5, 3, 1, bias=False)
    maps = class_activation_maps(tokens, layer.weight, (2, 3))
    expected = layer(tokens.transpose(1, 2).reshape(2, 5, 2, 3)).relu()
    torch.testing.assert_close(maps, expected)
    assert torch.equal(maps, class_activation_maps(tokens, layer.weight.flatten(1), (2, 3)))


# -- gradients, types, devices, compilation -------------------------------------------------------


def test_gradcheck() -> None:
    tokens = torch.randn(1, 6, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t, w: class_activation_maps(t, w, (2, 3)), (tokens, weight)
    )
    cam = random_cam(1, 2, 2, 3).double().requires_grad_()
    other = random_cam(1, 2, 2, 3).double().requires_grad_()
    # A larger eps: the maximum's slope is steep where the map is nearly flat.
    assert torch.autograd.gradcheck(lambda c: normalize_cam(c, 0.1), cam)
    assert torch.autograd.gradcheck(
        lambda a, b: sum_scales([merge_flip(a, b), a], 0.1), (cam, other)
    )
    assert torch.autograd.gradcheck(lambda c: resize_cam(c, (3, 5)), cam)
    assert torch.autograd.gradcheck(lambda c: keep_present(c, torch.tensor([[0, 1]])), cam)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_results_follow_the_type_of_the_input(dtype: torch.dtype) -> None:
    tokens, weight = torch.randn(2, 24, 5).to(dtype), torch.randn(3, 5).to(dtype)
    exact = class_activation_maps(tokens.double(), weight.double(), (4, 6))
    maps = class_activation_maps(tokens, weight, (4, 6))
    cam = random_cam().to(dtype)
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps}
    for result, expected in [
        (maps, exact),
        (normalize_cam(cam), normalize_cam(cam.double())),
        (sum_scales([cam, cam]), sum_scales([cam.double()] * 2)),
        (resize_cam(cam, (9, 7)), resize_cam(cam.double(), (9, 7))),
        (keep_present(cam, torch.ones(2, 3)), cam.double()),
    ]:
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), expected, **tolerance)
    # Rounded once, at the end; eps counts beside maxima as small as these.
    small = (1e-4 * random_cam()).to(dtype)
    assert torch.equal(normalize_cam(small), normalize_cam(at_least_float32(small)).to(dtype))
    cam = torch.rand(2, 3, 4, 6).to(dtype)
    cam[0, 0] = 0.7
    labels = cam_to_labels(cam, torch.ones(2, 3), low=0.2, high=0.7)
    expected = cam_to_labels(cam.float(), torch.ones(2, 3), low=0.2, high=0.7)
    assert torch.equal(labels, expected)


def test_half_precision_tokens_meet_float32_weights_without_loss() -> None:
    tokens, weight = torch.randn(2, 24, 5).bfloat16(), torch.randn(3, 5)
    maps = class_activation_maps(tokens, weight, (4, 6))
    assert maps.dtype == torch.float32
    assert torch.equal(maps, class_activation_maps(tokens.float(), weight, (4, 6)))


def test_autocast_does_not_round_the_scores() -> None:
    tokens, weight = torch.randn(2, 24, 5), torch.randn(3, 5)
    expected = class_activation_maps(tokens, weight, (4, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = class_activation_maps(tokens, weight, (4, 6))
        normalised = normalize_cam(maps)
    assert torch.equal(maps, expected)
    assert torch.equal(normalised, normalize_cam(expected))


def pipeline(tokens: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every function of the module once."""
    cam, mirror = (class_activation_maps(t, weight, (4, 6)) for t in (tokens, tokens.flip(1)))
    merged = merge_flip(cam, mirror)
    final = sum_scales([merged, resize_cam(resize_cam(merged, (8, 12)), (4, 6))])
    return final, cam_to_labels(normalize_cam(final), labels, low=0.2, high=0.7)


def test_devices(device: torch.device) -> None:
    inputs = torch.randn(2, 24, 5), torch.randn(3, 5), torch.tensor([[1, 0, 1], [0, 0, 0]])
    final, labels = pipeline(*(value.to(device) for value in inputs))
    expected = pipeline(*inputs)
    assert final.device.type == labels.device.type == device.type
    torch.testing.assert_close(final.cpu(), expected[0], rtol=1e-4, atol=1e-4)


def test_compiles_as_one_graph() -> None:
    inputs = torch.randn(2, 24, 5), torch.randn(3, 5), torch.tensor([[1, 0, 1], [0, 0, 0]])
    assert_compiles(pipeline, *inputs, atol=1e-5)


def test_compiles_with_the_default_backend() -> None:
    assert_compiles(normalize_cam, random_cam(), backend="inductor")


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.rand(12, 5), torch.rand(3, 5), (3, 4)), ValueError, r"tokens: expected shape"),
        ((torch.rand(2, 12, 5), torch.rand(3, 4), (3, 4)), ValueError, r"weight: .* D=5, got"),
        (
            (torch.rand(2, 12, 5), torch.rand(3, 5, 3, 3), (3, 4)),
            ValueError,
            r"weight: expected shape \(C, D, 1, 1\)",
        ),
        ((torch.rand(2, 12, 5), torch.rand(0, 5), (3, 4)), ValueError, r"weight: .* one class"),
        ((torch.rand(2, 12, 5), [1.0], (3, 4)), TypeError, r"weight: expected a tensor"),
        (
            (torch.rand(2, 12, 5), torch.rand(3, 5), (3, 5)),
            ValueError,
            r"grid: expected H \* W = 12 patches, got \(3, 5\)",
        ),
        ((torch.rand(2, 12, 5), torch.rand(3, 5), 12), TypeError, r"grid: expected two integers"),
        ((torch.rand(2, 12, 5), torch.rand(3, 5), (-3, -4)), ValueError, r"grid: .* positive"),
        ((torch.ones(2, 12, 5).int(), torch.rand(3, 5), (3, 4)), TypeError, r"tokens: .*floating"),
        ((torch.rand(2, 12, 5), torch.ones(3, 5).int(), (3, 4)), TypeError, r"weight: .*floating"),
    ],
)
def test_bad_tokens_are_refused(
    arguments: tuple[object, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        class_activation_maps(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_cam_with_nan_or_infinity_is_refused(bad: float) -> None:
    cam = random_cam().relu()
    cam[1, 2, 3, 4] = bad
    with pytest.raises(ValueError, match=r"cams?(\[1\])?: expected finite values"):
        normalize_cam(cam)
    with pytest.raises(ValueError, match=r"cams\[1\]: expected finite values"):
        sum_scales([random_cam(), cam])
    with pytest.raises(ValueError, match=r"cam: expected values between 0 and 1, got "):
        cam_to_labels(cam, torch.ones(2, 3), threshold=0.5)


def test_labels_of_a_cam_that_was_never_normalised_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cam: .* between 0 and 1, got values from 0 to 12"):
        cam_to_labels(torch.linspace(0, 12, 6).reshape(1, 1, 2, 3), torch.ones(1, 1), threshold=0.5)


@pytest.mark.parametrize(
    ("cam", "error", "message"),
    [
        (torch.rand(3, 4, 6), ValueError, r"cam: expected shape \(B, C, H, W\), got \(3, 4, 6\)"),
        (None, TypeError, r"cam: expected a tensor \(B, C, H, W\), got NoneType"),
        (torch.ones(2, 3, 4, 6).long(), TypeError, r"cam: expected a floating-point tensor"),
    ],
)
def test_bad_cams_are_refused(cam: Tensor, error: type[Exception], message: str) -> None:
    for function in (
        normalize_cam,
        lambda c: resize_cam(c, (3, 4)),
        lambda c: cam_to_labels(c, torch.ones(2, 3), threshold=0.5),
    ):
        with pytest.raises(error, match=message):
            function(cam)


def test_mismatched_sizes_are_refused() -> None:
    cam = torch.rand(2, 3, 4, 6)
    with pytest.raises(ValueError, match=r"labels: expected shape .* B=2, C=3, got \(2, 4\)"):
        cam_to_labels(cam, torch.ones(2, 4), threshold=0.5)
    with pytest.raises(ValueError, match=r"labels: expected shape .* B=2, C=3, got \(1, 3\)"):
        keep_present(cam, torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"cam_of_flipped: expected shape .* W=6, got"):
        merge_flip(cam, cam[..., :5])
    with pytest.raises(ValueError, match=r"cams\[1\]: expected shape .* H=4, W=6, got"):
        sum_scales([cam, cam[:, :, :3]])
    with pytest.raises(ValueError, match=r"cams: expected at least one tensor"):
        sum_scales([])
    with pytest.raises(TypeError, match=r"cams\[1\]: expected a floating-point tensor"):
        sum_scales([cam, cam.int()])
    with pytest.raises(ValueError, match=r"size: expected two positive integers"):
        resize_cam(cam, (0, 4))
    with pytest.raises(TypeError, match=r"size: expected two integers"):
        resize_cam(cam, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("borders", "error", "message"),
    [
        ({}, ValueError, r"expected either threshold= or both low= and high=, got low=None"),
        ({"low": 0.2}, ValueError, r"expected either .*, got low=0.2, high=None, threshold=None"),
        ({"high": 0.2}, ValueError, r"expected either threshold= or both low= and high="),
        ({"low": 0.2, "high": 0.7, "threshold": 0.5}, ValueError, r"expected either threshold="),
        ({"low": 0.2, "threshold": 0.5}, ValueError, r"expected either threshold="),
        ({"low": 0.7, "high": 0.7}, ValueError, r"low: expected a number below high=0.7, got 0.7"),
        ({"low": 0.8, "high": 0.2}, ValueError, r"low: expected a number below high=0.2, got 0.8"),
        ({"low": -0.1, "high": 0.7}, ValueError, r"low: expected a number in \[0, 1\], got -0.1"),
        ({"low": 0.1, "high": 1.7}, ValueError, r"high: expected a number in \[0, 1\], got 1.7"),
        ({"threshold": 2}, ValueError, r"threshold: expected a number in \[0, 1\], got 2"),
        ({"threshold": "0.5"}, TypeError, r"threshold: expected a number, got str"),
    ],
)
def test_bad_thresholds_are_refused(
    borders: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cam_to_labels(torch.rand(2, 3, 4, 6), torch.ones(2, 3), **borders)
