"""The dense CRF against explicit matrices in float64, and its backends against each other."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.errors import ShapeError
from fsr.refine import (
    CRF_PRESETS,
    MAX_CPU_PIXELS,
    Backend,
    CRFSettings,
    DenseCRF,
    label_map_probabilities,
    mean_field,
)
from tests.helpers import code_that_hides
from tests.processes import run_code

WIDE: dict[str, Any] = {"bilateral_sxy": 8.0, "bilateral_srgb": 20.0}


def case(labels: int = 3, height: int = 9, width: int = 11) -> tuple[Tensor, Tensor]:
    """A noisy image of two halves with noisy probabilities."""
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 30, (height, width, 3), generator=draw)
    image[:, width // 2 :] += 180
    scores = torch.randn(labels, height, width, generator=draw)
    scores[1, :, width // 2 :] += 1.0
    return image.to(torch.uint8), scores.softmax(0)


def brute_force(image: Tensor, probabilities: Tensor, settings: CRFSettings) -> Tensor:
    """Mean field with explicit N x N matrices in float64."""
    labels, height, width = probabilities.shape
    place = np.array([(y, x) for y in range(height) for x in range(width)], dtype=np.float64)
    colour = image.numpy().reshape(-1, 3).astype(np.float64)
    near = ((place[:, None] - place[None]) ** 2).sum(-1)
    alike = ((colour[:, None] - colour[None]) ** 2).sum(-1)
    kernels = []
    for weight, exponent in (
        (settings.gaussian_weight, near / settings.gaussian_sxy**2),
        (
            settings.bilateral_weight,
            near / settings.bilateral_sxy**2 + alike / settings.bilateral_srgb**2,
        ),
    ):
        kernel = np.exp(-exponent / 2)
        norm = 1 / np.sqrt(kernel.sum(1))
        kernels.append(weight * norm[:, None] * kernel * norm[None])
    log_p = np.log(np.clip(probabilities.double().numpy().reshape(labels, -1), 1e-5, 1))

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(0))
        return e / e.sum(0)

    q = softmax(log_p)
    for _ in range(settings.iterations):
        q = softmax(log_p + sum(q @ kernel.T for kernel in kernels))
    return torch.from_numpy(q.reshape(labels, height, width))


@pytest.mark.parametrize("settings", [*CRF_PRESETS.values(), CRFSettings(**WIDE, iterations=4)])
def test_the_torch_backend_is_exact(settings: CRFSettings, device: torch.device) -> None:
    image, probabilities = case()
    crf = DenseCRF(settings, backend="torch")
    result = crf(image, probabilities.to(device))
    assert result.device == probabilities.to(device).device
    assert result.dtype == torch.float32
    expected = brute_force(image, probabilities, settings)
    torch.testing.assert_close(result.cpu().double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [CRF_PRESETS["test"], CRFSettings(**WIDE, iterations=4)])
@pytest.mark.usefixtures("interpreted")
def test_the_kernel_is_exact_to_what_it_promises(
    settings: CRFSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsr.refine._mean_field.SMALL", 0)  # which are filtered in float64
    kernel = importlib.import_module("fsr.filters._gaussian_kernel")
    plain, calls = kernel.gaussian_sum_in_tiles, []

    def spy(values: Tensor, features: Tensor) -> Tensor:
        calls.append(values.shape[2])
        summed: Tensor = plain(values, features)
        return summed

    monkeypatch.setattr(kernel, "gaussian_sum_in_tiles", spy)
    image, probabilities = case()
    result = DenseCRF(settings, backend="torch")(image, probabilities)
    # Once for the kernel's normalisation, then once an update, of all labels.
    assert calls == [1] + settings.iterations * [3]
    expected = brute_force(image, probabilities, settings)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("settings", [*CRF_PRESETS.values(), CRFSettings(**WIDE)])
@pytest.mark.parametrize("backend", ["pydensecrf", "lattice"])
def test_the_backends_agree(settings: CRFSettings, backend: Backend, device: torch.device) -> None:
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf")
    image, probabilities = case(height=24, width=31)
    exact = DenseCRF(settings, backend="torch")(image, probabilities).argmax(0)
    found = DenseCRF(settings, backend=backend)(image, probabilities.to(device))
    torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]))
    assert (exact == found.cpu().argmax(0)).float().mean() >= 0.97


def test_the_lattice_takes_images_of_any_size_and_classes_in_any_order() -> None:
    image, probabilities = case(height=40, width=60)
    crf = DenseCRF(backend="lattice", max_pixels=1)
    result, order = crf(image, probabilities), torch.tensor([2, 0, 1])
    torch.testing.assert_close(crf(image, probabilities[order]), result[order])
    assert torch.equal(crf(image, probabilities), result)
    plain = mean_field(probabilities, image.permute(2, 0, 1), approximate=True)
    assert torch.equal(plain, result)
    off = DenseCRF(backend="lattice", gaussian_weight=0.0, bilateral_weight=0.0)
    torch.testing.assert_close(off(image, probabilities), probabilities)


def test_classes_may_be_permuted_and_images_mirrored() -> None:
    image, probabilities = case()
    crf = DenseCRF(backend="torch", **WIDE)
    result, order = crf(image, probabilities), torch.tensor([2, 0, 1])
    torch.testing.assert_close(crf(image, probabilities[order]), result[order])
    mirrored = crf(image.flip(1), probabilities.flip(2)).flip(2)
    torch.testing.assert_close(mirrored, result, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.sum(0), torch.ones(9, 11))


def test_without_evidence_or_kernels_nothing_changes() -> None:
    image, probabilities = case()
    even = torch.full_like(probabilities, 1 / 3)
    torch.testing.assert_close(DenseCRF(backend="torch")(image, even), even)
    off = DenseCRF(backend="torch", gaussian_weight=0.0, bilateral_weight=0.0, max_pixels=1)
    torch.testing.assert_close(off(image, probabilities), probabilities)


def test_unlikely_classes_take_no_part() -> None:
    image, probabilities = case()
    more = torch.cat([probabilities * 0.999, torch.full((2, 9, 11), 0.0005)])
    result = DenseCRF(backend="torch", min_probability=0.01, **WIDE)(image, more)
    assert result.shape == more.shape
    assert not result[3:].any()
    alone = DenseCRF(backend="torch", **WIDE)(image, more[:3])
    torch.testing.assert_close(result[:3], alone)
    only = DenseCRF(backend="torch", min_probability=1.0)(image, probabilities)
    assert (only.flatten(1).amax(1) > 0).sum() == 1


def test_arrays_are_taken_and_not_written_to() -> None:
    image, probabilities = case()
    pixels = image.numpy()
    pixels.flags.writeable = False
    crf = DenseCRF(backend="torch", **WIDE)
    result = crf(pixels, probabilities.numpy())
    torch.testing.assert_close(result, crf(image, probabilities))


def test_label_maps_become_probabilities() -> None:
    result = label_map_probabilities(torch.tensor([[0, 2, 255]]), 2, 0.6)
    expected = torch.tensor([[[0.6, 0.2, 1 / 3]], [[0.2, 0.2, 1 / 3]], [[0.2, 0.6, 1 / 3]]])
    torch.testing.assert_close(result, expected)
    assert label_map_probabilities(torch.tensor([[1]]), 1, 1.0).tolist() == [[[0.0]], [[1.0]]]
    for labels in ([[3]], [[-1]]):
        with pytest.raises(ValueError, match=r"labels: expected 0\.\.2 or 255"):
            label_map_probabilities(torch.tensor(labels), 2)
    with pytest.raises(ValueError, match="confidence: expected"):
        label_map_probabilities(torch.tensor([[1]]), 2, 0.2)


def test_large_images_are_refused_on_a_cpu_by_their_size_alone() -> None:
    crf = DenseCRF(backend="torch", max_pixels=99, iterations=1)
    assert crf(*case(height=9, width=11)).any()
    message = r"image: expected at most 99 pixels .* got 10 x 10 = 100, .* GPU, or max_pixels=None"
    with pytest.raises(ValueError, match=message):
        crf(*case(height=10, width=10))
    assert DenseCRF(backend="torch", max_pixels=None, iterations=1)(*case(height=10)).any()


def test_the_limit_of_the_exact_filter_is_the_documented_one() -> None:
    wide = torch.zeros(1, 225, 3, dtype=torch.uint8)
    image = wide.expand(224, 225, 3)
    with pytest.raises(ValueError, match=r"at most 50176 pixels .* got 224 x 225 = 50400"):
        DenseCRF(backend="torch")(image, torch.full((2, 224, 225), 0.5))
    off = DenseCRF(backend="torch", bilateral_weight=0.0, iterations=1)
    assert off(image, torch.full((2, 224, 225), 0.5)).shape == (2, 224, 225)


def test_the_other_backend_takes_images_of_any_size() -> None:
    pytest.importorskip("pydensecrf")
    image, probabilities = case(height=10, width=10)
    assert DenseCRF(max_pixels=1, iterations=1)(image, probabilities).any()


def test_the_limit_in_seconds_of_the_release_before_warns() -> None:
    with pytest.warns(DeprecationWarning, match="max_seconds goes .* max_pixels"):
        assert DenseCRF(backend="torch", max_seconds=None).max_pixels is None
    with pytest.warns(DeprecationWarning, match="max_seconds"):
        assert DenseCRF(backend="torch", max_seconds=5.0).max_pixels == MAX_CPU_PIXELS


def test_bad_input_is_named() -> None:
    image, probabilities = case()
    crf = DenseCRF(backend="torch")
    with pytest.raises(TypeError, match="image: expected uint8"):
        crf(image.float(), probabilities)
    with pytest.raises(ShapeError, match=r"image: expected \(height, width, 3\)"):
        crf(image.permute(2, 0, 1), probabilities)
    with pytest.raises(ShapeError, match="probabilities: expected"):
        crf(image, probabilities[:, 1:])
    with pytest.raises(ShapeError, match="probabilities: expected at least one class"):
        crf(image, probabilities[:0])
    with pytest.raises(TypeError, match="probabilities: expected"):
        crf(image, probabilities.long())
    for bad in (-0.1, 1.1, float("nan")):
        wrong = probabilities.clone()
        wrong[0, 0, 0] = bad
        with pytest.raises(ValueError, match=r"probabilities: expected (values in|finite values)"):
            crf(image, wrong)
    with pytest.raises(ValueError, match="backend: expected"):
        DenseCRF(backend="nothing")
    with pytest.raises(ValueError, match="preset: expected"):
        DenseCRF("tets", backend="torch")
    with pytest.raises(ValueError, match="setting: expected"):
        DenseCRF(backend="torch", iteration=3)
    with pytest.raises(ValueError, match="bilateral_srgb: expected"):
        DenseCRF(backend="torch", bilateral_srgb=0.0)
    with pytest.raises(ValueError, match="iterations: expected"):
        DenseCRF(backend="torch", iterations=0)
    with pytest.raises(ValueError, match="min_probability: expected"):
        DenseCRF(backend="torch", min_probability=2.0)
    with pytest.raises(ValueError, match="max_pixels: expected"):
        DenseCRF(backend="torch", max_pixels=0)
    with pytest.raises(ValueError, match="gaussian_weight: expected"):
        mean_field(probabilities, image.permute(2, 0, 1), gaussian_weight=-1.0)
    with pytest.raises(ShapeError, match="image: expected"):
        mean_field(probabilities, image)


def test_without_the_extra_it_is_named_and_nothing_takes_its_place() -> None:
    code = code_that_hides(["pydensecrf"]) + (
        "from fsr.refine import DenseCRF\nDenseCRF(backend='torch')\nDenseCRF()\n"
    )
    done = run_code(code)
    assert "ImportError" in done.stderr
    assert "pip install 'fsr-wsss[crf]'" in done.stderr
    assert "backend='lattice' needs nothing" in done.stderr
