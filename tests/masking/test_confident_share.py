"""BECO's confident pixels against recorded masks and plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.masking import confident_share
from tests.helpers import assert_compiles


def make_case(seed: int = 0, height: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, height, width, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 1, 17, 254, 255])[
        torch.randint(0, 5, (height, width), generator=draw)
    ]
    return scores, labels


def by_loops(scores: Tensor, labels: Tensor, share: float) -> list[list[bool]]:
    margins: dict[int, list[tuple[float, int, int]]] = {}
    for y, x in np.ndindex(labels.shape):
        second, first = sorted(scores[:, y, x].tolist())[-2:]
        margins.setdefault(int(labels[y, x]), []).append((-(first - second), y, x))
    kept = set()
    for label, pixels in margins.items():
        if label != 255:
            kept |= {(y, x) for _, y, x in sorted(pixels)[: int(share * len(pixels))]}
    height, width = labels.shape
    return [[(y, x) in kept for x in range(width)] for y in range(height)]


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("systems/beco_confident")
    found = confident_share(arrays["in_scores"], arrays["in_label"], arrays["arg_share"].item())
    assert found.dtype == torch.bool
    assert torch.equal(found, arrays["out_confident"].bool())


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
)
def test_matches_plain_loops(seed: int, height: int, width: int, share: float) -> None:
    scores, labels = make_case(seed, height, width)
    assert confident_share(scores, labels, share).tolist() == by_loops(scores, labels, share)


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([0.5, 2.0, 4.0]))
def test_channels_may_change_places_and_scores_be_scaled_and_shifted(
    seed: int, scale: float
) -> None:
    scores, labels = make_case(seed)
    found = confident_share(scores, labels)
    assert torch.equal(confident_share(scale * scores[[2, 0, 3, 1]], labels), found)
    assert torch.equal(confident_share(scores + 1.0, labels), found)


@given(seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_a_larger_share_holds_the_smaller(seed: int, share: float) -> None:
    scores, labels = make_case(seed)
    half, more = (confident_share(scores, labels, s) for s in (share / 2, share))
    assert not (half & ~more).any()
    assert not more[labels == 255].any()


def test_the_whole_of_each_class_none_and_one_pixel() -> None:
    scores, labels = make_case()
    assert torch.equal(confident_share(scores, labels, 1.0), labels != 255)
    assert not confident_share(scores, labels, 0.0).any()
    assert not confident_share(scores, torch.full_like(labels, 255), 1.0).any()
    one = torch.tensor([0.9, 0.1]).view(2, 1, 1), torch.zeros(1, 1).long()
    assert confident_share(*one).tolist() == [[False]]
    assert confident_share(*one, 1.0).tolist() == [[True]]


def test_equal_margins_are_taken_row_by_row_and_the_count_is_safe_against_float_error() -> None:
    scores = torch.tensor([0.7, 0.3]).view(2, 1, 1).expand(2, 10, 10)
    labels = torch.zeros(10, 10, dtype=torch.long)
    assert int(0.29 * 100) == 28
    found = confident_share(scores, labels, 0.29)
    assert found.flatten().tolist() == [True] * 29 + [False] * 71


def test_half_precision_any_integer_and_the_device(device: torch.device) -> None:
    scores, labels = (tensor.to(device) for tensor in make_case())
    half = scores.bfloat16()
    found = confident_share(half, labels.byte())
    assert found.device.type == device.type
    assert torch.equal(found, confident_share(half.float(), labels))


def test_compiles_as_one_graph() -> None:
    assert_compiles(confident_share, *make_case(), 0.5)


SCORES, LABELS = torch.rand(2, 3, 4), torch.zeros(3, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, LABELS), TypeError, "scores: expected a tensor"),
        ((SCORES[0], LABELS), ShapeError, r"scores: expected shape \(C\+1, h, w\), got"),
        ((SCORES, LABELS[:2]), ShapeError, r"labels: .* with h=3, w=4, got \(2, 4\)"),
        ((SCORES.long(), LABELS), TypeError, "scores: expected a floating-point tensor"),
        ((SCORES, LABELS.float()), TypeError, "labels: expected an integer tensor"),
        ((SCORES[:1], LABELS), ShapeError, "scores: expected at least two channels and a pixel"),
        ((SCORES[:, :0], LABELS[:0]), ShapeError, "scores: expected at least one pixel"),
        ((SCORES, LABELS, 1.5), ValueError, r"share: expected a number in \[0.0, 1.0\], got 1.5"),
        ((SCORES, LABELS, None), TypeError, "share: expected a number, got NoneType"),
        ((SCORES / 0, LABELS), ValueError, "scores: expected finite values, got NaN or infinity"),
        ((SCORES, LABELS + 300), ValueError, "labels: .* integers from 0 to 255, got 300"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        confident_share(*arguments)
