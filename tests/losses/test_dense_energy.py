"""DenseEnergyLoss: brute force, the true gradient, and the recorded exact values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.filters import bilateral_filter
from fsr.losses import DenseEnergyLoss, gated_dense_energy, uncertainty_gate
from fsr.losses import _dense_energy as dense_energy
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)
from tests.losses.test_streamed_entropy import Largest

UNLABELLED = 255
OPTIONS = {"weight": 0.5, "sigma_rgb": 60.0, "sigma_xy": 8.0}


def make_case(
    batch: int = 2, size: tuple[int, int] = (6, 9), dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Images in 0..255, logits of three channels at the same size, labels with some unknown."""
    images = 255 * torch.rand(batch, 3, *size, dtype=dtype)
    logits = 2 * torch.randn(batch, 3, *size, dtype=dtype)
    labels = torch.randint(0, 3, (batch, *size))
    labels[:, ::2, ::3] = UNLABELLED
    return images, logits, labels


def reference(
    images: NDArray[np.float64], logits: NDArray[np.float64], labels: NDArray[np.int64]
) -> float:
    """Energy at full size with the module's OPTIONS: every pair of pixels and every class."""
    total = 0.0
    batch, channels, height, width = logits.shape
    pixels = list(np.ndindex(height, width))
    for b in range(batch):
        weights = np.exp(logits[b] - logits[b].max(0))
        soft = weights / weights.sum(0)
        for i in pixels:
            gate = 1.0 if labels[b][i] == UNLABELLED else 1 - max(soft[:, i[0], i[1]])
            for j in pixels:
                apart = np.sum((np.array(i) - np.array(j)) ** 2) / OPTIONS["sigma_xy"] ** 2
                colours = images[b, :, i[0], i[1]] - images[b, :, j[0], j[1]]
                apart += np.sum(colours**2) / OPTIONS["sigma_rgb"] ** 2
                for k in range(channels):
                    alike = soft[k, i[0], i[1]] * soft[k, j[0], j[1]]
                    total -= gate * float(np.exp(-apart / 2) * alike)
    return OPTIONS["weight"] * total / batch


# -- what it computes -----------------------------------------------------------------------------


def test_matches_plain_loops() -> None:
    case = make_case()
    expected = reference(*(tensor.numpy() for tensor in case))
    actual = DenseEnergyLoss(**OPTIONS, scale=1.0)(*case).item()
    assert actual == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_the_recorded_exact_values(
    parity: Callable[[str], dict[str, Tensor]], dtype: torch.dtype, device: torch.device
) -> None:
    arrays = {name: value.to(device) for name, value in parity("dense_energy").items()}
    logits = arrays["logits"].to(dtype).requires_grad_()
    loss = DenseEnergyLoss(
        weight=arrays["weight"].item(),
        sigma_rgb=arrays["sigma_rgb"].item(),
        sigma_xy=arrays["sigma_xy"].item(),
        scale=arrays["scale_factor"].item(),
    )(arrays["image_rgb"], logits, arrays["labels"])
    loss.backward()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-6
    assert loss.item() == pytest.approx(arrays["loss_exact"].item(), rel=tolerance)
    expected = arrays["grad_exact"]
    assert (logits.grad - expected).norm() / expected.norm() < tolerance


def test_defaults_are_those_of_the_recorded_case(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    arrays, loss = parity("dense_energy"), DenseEnergyLoss()
    names = {"weight": "weight", "sigma_rgb": "sigma_rgb", "sigma_xy": "sigma_xy"}
    for option, name in {**names, "scale": "scale_factor"}.items():
        assert getattr(loss, option) == arrays[name].item()


def test_images_and_labels_are_sampled_nearest_and_sigma_shrinks() -> None:
    """At half scale of even sides, nearest takes every other pixel."""
    images, _, labels = make_case(size=(8, 12))
    small = make_case(size=(4, 6))[1]
    # Logits constant over blocks of 2 x 2: interpolation leaves block means, so size is all that
    # differs.
    logits = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole = DenseEnergyLoss(**OPTIONS, scale=0.5)(images, logits, labels)
    options = {**OPTIONS, "sigma_xy": OPTIONS["sigma_xy"] / 2}
    cut = images[:, :, ::2, ::2], small, labels[:, ::2, ::2]
    torch.testing.assert_close(whole, DenseEnergyLoss(**options, scale=1.0)(*cut))


@pytest.mark.parametrize("size", [(7, 11), (5, 4)])
def test_odd_sizes_are_rounded_down(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def spy(images: Tensor, probabilities: Tensor, gate: Tensor, *widths: float) -> Tensor:
        seen.extend(tuple(tensor.shape[-2:]) for tensor in (images, probabilities, gate))
        return gated_dense_energy(images, probabilities, gate, *widths)

    monkeypatch.setattr(dense_energy, "gated_dense_energy", spy)
    DenseEnergyLoss(scale=0.5)(*make_case(size=size))
    assert set(seen) == {(size[0] // 2, size[1] // 2)}


def test_logits_of_another_size_are_interpolated_to_the_labels() -> None:
    images, logits, labels = make_case(size=(6, 9))
    small = logits[:, :, :3, :3]
    resized = torch.nn.functional.interpolate(small, (6, 9), mode="bilinear", align_corners=False)
    loss = DenseEnergyLoss(**OPTIONS)
    torch.testing.assert_close(loss(images, small, labels), loss(images, resized, labels))


# -- gate -----------------------------------------------------------------------------------------


def test_gate_is_what_the_best_class_leaves_and_1_where_unlabelled() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.4, 0.4]]).T.reshape(1, 3, 1, 2)
    probabilities.requires_grad_()
    gate = uncertainty_gate(probabilities, torch.zeros(1, 1, 2, dtype=torch.bool))
    torch.testing.assert_close(gate, torch.tensor([0.3, 0.6]).reshape(1, 1, 1, 2))
    assert not gate.requires_grad
    gate = uncertainty_gate(probabilities, torch.tensor([[[False, True]]]))
    torch.testing.assert_close(gate.flatten(), torch.tensor([0.3, 1.0]))


def test_certain_labelled_pixels_have_no_energy() -> None:
    images, _, labels = make_case()
    sure = 1e4 * torch.nn.functional.one_hot(labels.clamp(max=2), 3).movedim(-1, 1).double()
    loss = DenseEnergyLoss(**OPTIONS, scale=1.0)
    assert loss(images, sure, labels.clamp(max=2)) == 0
    assert loss(images, sure, torch.full_like(labels, UNLABELLED)) < 0


# -- gradient -------------------------------------------------------------------------------------


def test_gradient_is_that_of_finite_differences_with_the_gate_held() -> None:
    images, logits, labels = make_case(1, (4, 5))
    gate = uncertainty_gate(logits.softmax(1), labels == UNLABELLED)

    def energy(x: Tensor) -> Tensor:
        return gated_dense_energy(images, x.softmax(1), gate, 60.0, 8.0)

    assert torch.autograd.gradcheck(energy, logits.requires_grad_())


def test_gradient_has_a_gradient() -> None:
    images, logits, labels = make_case(1, (2, 3))
    gate = uncertainty_gate(logits.softmax(1), labels == UNLABELLED).requires_grad_()

    def energy(x: Tensor, g: Tensor) -> Tensor:
        return gated_dense_energy(images, x.softmax(1), g, 60.0, 8.0)

    assert torch.autograd.gradcheck(energy, (logits.requires_grad_(), gate))
    assert torch.autograd.gradgradcheck(energy, (logits, gate), fast_mode=True)
    (alone,) = torch.autograd.grad(energy(logits.detach(), gate), gate)
    (beside, _) = torch.autograd.grad(energy(logits, gate), (gate, logits))
    torch.testing.assert_close(alone, beside)


def test_value_and_gradient_come_from_one_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    filtered: list[int] = []

    def spy(values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        filtered.append(values.shape[1])
        return bilateral_filter(values, *args, **kwargs)

    monkeypatch.setattr(dense_energy, "bilateral_filter", spy)
    images, logits, labels = make_case()
    loss = DenseEnergyLoss(**OPTIONS)
    loss(images, logits.requires_grad_(), labels).backward()
    assert filtered == [2 * 3]
    with_gradient = loss(images, logits, labels)
    without = loss(images, logits.detach(), labels)
    assert filtered == [2 * 3, 2 * 3, 3]
    torch.testing.assert_close(without, with_gradient.detach())


@pytest.mark.usefixtures("interpreted")
def test_the_kernel_gives_value_and_gradient_to_a_thousandth() -> None:
    images, logits, labels = make_case(dtype=torch.float32)
    loss = DenseEnergyLoss(**OPTIONS, scale=1.0)

    def both(scores: Tensor) -> tuple[Tensor, Tensor]:
        scores = scores.detach().requires_grad_()
        energy = loss(images.to(scores), scores, labels)
        return energy.detach(), torch.autograd.grad(energy, scores)[0]

    (exact, gradient), (value, near) = both(logits.double()), both(logits)
    assert value.item() == pytest.approx(exact.item(), rel=1e-3)
    assert (near - gradient).norm() < 1e-3 * gradient.norm()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_whole_loss_passes_gradcheck_where_the_gate_is_constant(scale: float) -> None:
    """Without labels the gate is 1 everywhere, so that holding it is exact."""
    images, logits, labels = make_case(2, (6, 4))
    labels = torch.full_like(labels, UNLABELLED)
    loss = DenseEnergyLoss(**OPTIONS, scale=scale)
    assert torch.autograd.gradcheck(
        lambda x: loss(images, x[..., :2], labels), logits.requires_grad_()
    )


def test_gate_takes_no_part_in_the_gradient() -> None:
    images, logits, labels = make_case()
    logits.requires_grad_()
    loss = DenseEnergyLoss(**OPTIONS, scale=1.0)
    (actual,) = torch.autograd.grad(loss(images, logits, labels), logits)
    gate = uncertainty_gate(logits.softmax(1), labels == UNLABELLED)
    held = OPTIONS["weight"] * gated_dense_energy(images, logits.softmax(1), gate, 60.0, 8.0)
    (expected,) = torch.autograd.grad(held, logits)
    torch.testing.assert_close(actual, expected)


def test_pixels_that_are_not_inside_take_no_part() -> None:
    images, logits, labels = make_case()
    loss = DenseEnergyLoss(**OPTIONS, scale=1.0)
    inside = torch.zeros(labels.shape, dtype=torch.bool)
    inside[:, 1:5, 2:7] = True
    part = (..., slice(1, 5), slice(2, 7))
    alone = loss(images[part], logits[part], labels[part])
    torch.testing.assert_close(loss(images, logits, labels, inside), alone)
    assert torch.equal(loss(images, logits, labels, inside | True), loss(images, logits, labels))
    with pytest.raises(TypeError, match="inside"):
        loss(images, logits, labels, inside.float())
    with pytest.raises(ShapeError, match="inside"):
        loss(images, logits, labels, inside[:1])


def test_agreement_of_like_neighbours_lowers_the_energy() -> None:
    images = torch.zeros(1, 3, 1, 4)
    images[..., 2:] = 255
    labels = torch.full((1, 1, 4), UNLABELLED)
    loss = DenseEnergyLoss(scale=1.0)
    along = torch.tensor([[3.0, 3.0, -3.0, -3.0], [-3.0, -3.0, 3.0, 3.0]]).reshape(1, 2, 1, 4)
    across = along[..., [0, 2, 1, 3]]
    assert loss(images, along, labels) < loss(images, across, labels)


# -- symmetries -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16))
def test_flips_and_renamed_classes_do_not_count(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = 255 * torch.rand(1, 3, 6, 8, dtype=torch.float64, generator=generator)
    logits = torch.randn(1, 3, 6, 8, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (1, 6, 8), generator=generator)
    loss = DenseEnergyLoss(**OPTIONS, scale=1.0)
    expected = loss(images, logits, labels)
    torch.testing.assert_close(loss(images, logits[:, [2, 0, 1]], labels), expected)
    torch.testing.assert_close(loss(images.flip(-1), logits.flip(-1), labels.flip(-1)), expected)


def test_images_do_not_influence_each_other() -> None:
    case = make_case(batch=3)
    loss = DenseEnergyLoss(**OPTIONS)
    alone = [loss(*(tensor[b : b + 1] for tensor in case)) for b in range(3)]
    torch.testing.assert_close(loss(*case), sum(alone) / 3)


# -- nothing to do, and extreme values ------------------------------------------------------------


def test_weight_0_is_an_attached_zero_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise AssertionError("the energy was computed")

    monkeypatch.setattr(dense_energy, "gated_dense_energy", refuse)
    images, logits, labels = make_case()
    loss = DenseEnergyLoss(weight=0.0)(images, logits.requires_grad_(), labels)
    assert loss == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@given(
    seed=st.integers(0, 2**16),
    magnitude=st.sampled_from([0.0, 1.0, 1e4, 1e30]),
    unknown=st.floats(0.0, 1.0),
)
def test_never_nan_for_finite_logits_and_any_labels(
    seed: int, magnitude: float, unknown: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = 255 * torch.rand(1, 3, 4, 6, generator=generator)
    logits = magnitude * torch.randn(1, 3, 2, 3, generator=generator)
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[torch.rand(1, 4, 6, generator=generator) < unknown] = UNLABELLED
    loss = DenseEnergyLoss(weight=1.0)(images, logits.requires_grad_(), labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss <= 0
    assert torch.isfinite(logits.grad).all()


# -- types, copies, compilation -------------------------------------------------------------------


def test_float64_stays_float64(device: torch.device) -> None:
    case = [tensor.to(device) for tensor in make_case()]
    loss = DenseEnergyLoss()(case[0].float(), *case[1:])
    assert loss.dtype == torch.float64
    assert loss.device.type == device.type


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    images, logits, labels = (t.to(device) for t in make_case(dtype=torch.float32))
    half = logits.bfloat16()
    loss = DenseEnergyLoss()(images, half, labels)
    assert loss.dtype == torch.float32
    assert loss == DenseEnergyLoss()(images, half.float(), labels)


def test_autocast_changes_nothing(device: torch.device) -> None:
    images, logits, labels = (t.to(device) for t in make_case(dtype=torch.float32))
    results = []
    for enabled in (False, True):
        x = logits.clone().requires_grad_()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            loss = DenseEnergyLoss(weight=1.0)(images, x, labels)
            loss.backward()
        results.append((loss.detach(), x.grad))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_compiles_as_one_graph_with_its_gradient() -> None:
    images, logits, labels = make_case(dtype=torch.float32)
    loss = DenseEnergyLoss(weight=1.0)
    assert_compiles(loss, images, logits, labels)

    def gradient(x: Tensor, function: Callable[..., Tensor]) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(function(images, x, labels), x)[0]

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient(logits, compiled), gradient(logits, loss))


def test_has_no_state_and_can_be_copied() -> None:
    loss = DenseEnergyLoss(**OPTIONS)
    assert loss.state_dict() == {}
    assert_state_dict_round_trip(loss, lambda: DenseEnergyLoss(**OPTIONS), *make_case())
    assert_deepcopy_after_forward(loss, *make_case())
    assert_pickles(loss, *make_case())
    assert repr(loss) == "DenseEnergyLoss(weight=0.5, sigma_rgb=60.0, sigma_xy=8.0, scale=0.5)"


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight": -1e-7}, ValueError, r"weight: expected a number in \[0.0, inf\], got -1e-07"),
        ({"weight": None}, TypeError, "weight: expected a number, got NoneType"),
        ({"sigma_rgb": 0}, ValueError, r"sigma_rgb: expected .*\(0.0, inf\), got 0"),
        ({"sigma_xy": -3}, ValueError, "sigma_xy: .* got -3"),
        ({"scale": 1.5}, ValueError, "scale: .* got 1.5"),
        ({"scale": 0}, ValueError, r"scale: expected a number in \(0, 1\], got 0"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DenseEnergyLoss(**options)


IMAGES, LOGITS = torch.zeros(1, 3, 4, 6), torch.zeros(1, 5, 2, 3)
LABELS = torch.zeros(1, 4, 6, dtype=torch.long)


@pytest.mark.parametrize(
    ("images", "logits", "labels", "error", "message"),
    [
        (IMAGES[:, :2], LOGITS, LABELS, ShapeError, r"images_rgb: expected shape \(B, 3, H, W\)"),
        (IMAGES[..., 1:], LOGITS, LABELS, ShapeError, "images_rgb: .* B=1, H=4, W=6"),
        (IMAGES.byte(), LOGITS, LABELS, TypeError, "images_rgb: expected a floating-point"),
        (IMAGES + float("nan"), LOGITS, LABELS, ValueError, "images_rgb: expected finite values"),
        (IMAGES, LOGITS[0], LABELS, ShapeError, r"logits: expected shape \(B, C\+1, h, w\)"),
        (IMAGES, LOGITS.long(), LABELS, TypeError, "logits: expected a floating-point"),
        (IMAGES, LOGITS[:, :0], LABELS, ShapeError, "logits: expected at least one class"),
        (IMAGES, LOGITS, LABELS[0], ShapeError, r"labels: expected shape \(B, H, W\) with B=1"),
        (IMAGES, LOGITS, LABELS.float(), TypeError, "labels: expected an integer tensor"),
        (
            IMAGES[..., :1, :],
            LOGITS,
            LABELS[:, :1],
            ShapeError,
            r"at least one pixel at scale 0.5, got \(1, 5, 2, 3\) and \(1, 1, 6\)",
        ),
    ],
)
def test_bad_input_is_refused(
    images: Tensor, logits: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DenseEnergyLoss()(images, logits, labels)


def test_of_many_classes_the_maps_of_one_image_are_held_at_a_time() -> None:
    torch.manual_seed(0)
    images = 255 * torch.rand(3, 3, 16, 16)
    logits = torch.randn(3, 300, 2, 2, requires_grad=True)
    labels = torch.randint(0, 301, (3, 16, 16)).masked_fill(torch.rand(3, 16, 16) < 0.3, 65535)
    loss = DenseEnergyLoss(weight=1.0, sigma_rgb=60.0, sigma_xy=8.0)
    with Largest() as made:
        energy = loss(images, logits, labels)
        torch.autograd.backward(energy)
    assert made.numbers == 300 * 16 * 16
    gradient, same = logits.grad, logits.detach().requires_grad_()
    whole = F.interpolate(same, (16, 16), mode="bilinear").softmax(dim=1)
    small = F.interpolate(whole, (8, 8), mode="bilinear")
    unknown = F.interpolate((labels == 65535)[:, None].float(), (8, 8))[:, 0] > 0
    expected = gated_dense_energy(
        F.interpolate(images, (8, 8)), small, uncertainty_gate(small, unknown), 60.0, 4.0
    )
    torch.testing.assert_close(energy, expected)
    torch.testing.assert_close(torch.autograd.grad(expected, same)[0], gradient)
