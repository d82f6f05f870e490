"""PAR's kernels, as Triton's interpreter runs them, against the same sums in torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fsr.refine import PAR, pixel_adaptive_affinity, propagate
from fsr.refine._par import _position_weights
from tests.kernels import compiled_for_a_gpu

SIZES = [(2, 5, 5, 7, (1, 4)), (1, 20, 3, 4, (9,))]


def case(batch: int, channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, height, width), torch.rand(batch, channels, height, width)


@pytest.mark.parametrize(("batch", "channels", "height", "width", "dilations"), SIZES)
def test_they_are_the_plain_sums(
    batch: int,
    channels: int,
    height: int,
    width: int,
    dilations: tuple[int, ...],
    request: pytest.FixtureRequest,
) -> None:
    images, masks = case(batch, channels, height, width)
    affinity = pixel_adaptive_affinity(images, dilations)
    moved = propagate(masks, affinity, dilations)
    request.getfixturevalue("interpreted")
    torch.testing.assert_close(pixel_adaptive_affinity(images, dilations), affinity)
    torch.testing.assert_close(propagate(masks, affinity, dilations), moved)


@pytest.mark.usefixtures("interpreted")
def test_flat_images_one_pixel_and_other_layouts_are_no_trouble() -> None:
    flat = PAR(1, (1,))(torch.full((1, 3, 4, 4), 0.3), torch.rand(1, 2, 4, 4))
    assert bool(flat.isfinite().all())
    one = PAR(2, (1,))(torch.rand(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(one, torch.full((1, 1, 1, 1), 1.01**2))
    images, masks = case(1, 2, 5, 7)
    turned = [value.to(memory_format=torch.channels_last) for value in (images, masks)]
    torch.testing.assert_close(PAR(1, (1,))(*turned), PAR(1, (1,))(images, masks))
    assert PAR(1, (1,))(images[:0], masks[:0]).shape == (0, 2, 5, 7)


@pytest.mark.usefixtures("interpreted")
def test_what_is_to_have_a_gradient_or_is_float64_goes_the_plain_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fsr.refine import _affinity_kernel, _propagate_kernel

    calls: list[str] = []
    for module, name in (
        (_propagate_kernel, "propagate_at_once"),
        (_affinity_kernel, "affinity_at_once"),
    ):

        def note(*args: Tensor, name: str = name) -> Tensor:
            calls.append(name)
            return args[0]

        monkeypatch.setattr(module, name, note)
    images, masks = case(1, 2, 4, 5)
    par = PAR(2, (1,))
    par(images.double(), masks.double().requires_grad_()).sum().backward()
    assert calls == []
    par(images.double(), masks.requires_grad_())
    assert calls == []
    pixel_adaptive_affinity(images.clone().requires_grad_(), (1,)).sum().backward()
    assert calls == []
    with torch.no_grad():
        propagate(masks, torch.rand(1, 8, 4, 5), (1,))
    pixel_adaptive_affinity(images, (1,))
    assert calls == ["propagate_at_once", "affinity_at_once"]


def test_they_compile_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsr.refine._affinity_kernel import _affinities, _scales
    from fsr.refine._propagate_kernel import _propagate

    def check(kernel: object, floats: str, integers: str, **constants: object) -> None:
        types = dict.fromkeys(floats.split(), "*fp32") | {"offsets": "*i32"}
        types |= dict.fromkeys(integers.split(), "i32")
        assert compiled_for_a_gpu(kernel, tmp_path, monkeypatch, **types, **constants)

    sizes = {"NEIGHBOURS": 16, "PIXELS": 128}
    check(_propagate, "masks affinity result", "channels height width", CHANNELS=8, **sizes)
    check(_scales, "images scale", "height width", bandwidth=0.3, **sizes)
    check(_affinities, "images scale position result", "height width", CHANNELS=3, **sizes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_they_are_the_plain_sums_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = case(2, 20, 60, 80)
    expected = PAR()(images, masks)
    monkeypatch.setenv("FSR_TRITON", "1")
    torch.testing.assert_close(
        PAR()(images.cuda(), masks.cuda()).cpu(), expected, rtol=1e-4, atol=1e-5
    )


def test_the_part_of_distance_sums_to_a_hundredth() -> None:
    weights = _position_weights((1, 2), torch.empty(0))
    assert weights.shape == (16,)
    torch.testing.assert_close(weights.sum(), torch.tensor(0.01))
