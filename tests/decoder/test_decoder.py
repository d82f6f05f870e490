"""The LargeFOV decoder against loops, and its field of view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsr.decoder import LargeFOV
from fsr.errors import ShapeError
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)


def build(dilation: int = 5) -> LargeFOV:
    return LargeFOV(3, 4, hidden_dim=2, dilation=dilation)


def dilated_by_loops(features: np.ndarray, weight: np.ndarray, dilation: int) -> np.ndarray:
    """A 3x3 dilated convolution with zero padding, one tap at a time."""
    _, height, width = features.shape
    result = np.zeros((weight.shape[0], height, width))
    for out, kernel in enumerate(weight):
        for y in range(height):
            for x in range(width):
                for i in range(3):
                    for j in range(3):
                        row, column = y + (i - 1) * dilation, x + (j - 1) * dilation
                        if 0 <= row < height and 0 <= column < width:
                            result[out, y, x] += kernel[:, i, j] @ features[:, row, column]
    return result


@pytest.mark.parametrize(("dilation", "size"), [(5, (7, 6)), (1, (4, 3)), (2, (1, 1))])
def test_matches_loops(dilation: int, size: tuple[int, int], device: torch.device) -> None:
    decoder = build(dilation).double().to(device)
    features = torch.randn(2, 3, *size, dtype=torch.float64, device=device)
    logits = decoder(features)
    first, second, last = (p.detach().cpu().numpy() for p in decoder.parameters())
    for b in range(2):
        hidden = np.maximum(dilated_by_loops(features[b].cpu().numpy(), first, dilation), 0)
        hidden = np.maximum(dilated_by_loops(hidden, second, dilation), 0)
        expected = np.einsum("od,dhw->ohw", last[:, :, 0, 0], hidden)
        np.testing.assert_allclose(logits[b].detach().cpu().numpy(), expected, atol=1e-12)


def test_a_patch_sees_twice_the_dilation_and_no_further() -> None:
    decoder = build(dilation=2)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.fill_(1.0)
    features = torch.zeros(1, 3, 15, 15)
    features[0, :, 7, 7] = 1.0
    seen = decoder(features)[0, 0] > 0
    rows = torch.arange(15)
    reach = ((rows - 7).abs() <= 4) & ((rows - 7) % 2 == 0)
    assert torch.equal(seen, reach[:, None] & reach[None, :])


def test_no_bias_so_zero_features_give_zero_logits() -> None:
    assert torch.equal(build()(torch.zeros(1, 3, 4, 4)), torch.zeros(1, 4, 4, 4))


@given(st.integers(0, 2**16))
def test_an_images_logits_do_not_depend_on_its_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    decoder = build()
    features = torch.randn(3, 3, 6, 5, generator=generator)
    together = decoder(features)
    for index in range(3):
        torch.testing.assert_close(decoder(features[index : index + 1])[0], together[index])


def test_gradcheck() -> None:
    decoder = build().double()
    features = torch.randn(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    inputs = (features, *decoder.parameters())
    assert torch.autograd.gradcheck(lambda features, *_: decoder(features), inputs)


def test_follows_dtype_and_autocast() -> None:
    decoder = build()
    features = torch.randn(1, 3, 6, 6)
    expected = decoder(features)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = decoder(features)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=0.1, atol=0.1)
    assert decoder.double()(features.double()).dtype == torch.float64


def test_state_copies_and_compilation() -> None:
    features = torch.randn(2, 3, 6, 5)
    decoder = build()
    assert_state_dict_round_trip(decoder, build, features)
    assert_deepcopy_after_forward(decoder, features)
    assert_pickles(decoder, features)
    assert_compiles(decoder, features)


def test_default_backend_compiles() -> None:
    assert_compiles(build(), torch.randn(1, 3, 6, 5), backend="inductor")


def test_hidden_layers_are_512_wide_by_default() -> None:
    shapes = [tuple(p.shape) for p in LargeFOV(8, 3).parameters()]
    assert shapes == [(512, 8, 3, 3), (512, 512, 3, 3), (3, 512, 1, 1)]


@pytest.mark.parametrize(
    "name", ["in_dim", "num_classes_with_background", "hidden_dim", "dilation"]
)
def test_sizes_must_be_positive(name: str) -> None:
    arguments = {"in_dim": 3, "num_classes_with_background": 2}
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer, got -1"):
        LargeFOV(**{**arguments, name: -1})


def test_bad_features_are_named() -> None:
    with pytest.raises(ShapeError, match=r"features: expected shape \(B, D, H, W\) with D=3, got"):
        build()(torch.zeros(1, 4, 2, 2))
    with pytest.raises(ShapeError, match="features"):
        build()(torch.zeros(3, 2, 2))
    with pytest.raises(TypeError, match="features: expected a floating-point tensor"):
        build()(torch.zeros(1, 3, 2, 2, dtype=torch.int64))
