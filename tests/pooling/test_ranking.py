"""Global weighted ranking: loops, recorded scores, its two ends, precision, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.pooling import global_weighted_ranking
from tests.helpers import assert_compiles


def ranked_by_loops(values: list[float], decay: float) -> float:
    """The weighted mean of one map."""
    above = below = 0.0
    for rank, value in enumerate(sorted(values, reverse=True)):
        above += decay**rank * value
        below += decay**rank
    return above / below


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.996, 1.0])
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_it_matches_plain_loops(decay: float, size: tuple[int, int], device: torch.device) -> None:
    logits = torch.randn(2, 3, *size, dtype=torch.float64)
    scores = global_weighted_ranking(logits.to(device), decay).cpu()
    for b, c in np.ndindex(2, 3):
        expected = ranked_by_loops(logits[b, c].flatten().tolist(), decay)
        assert scores[b, c].item() == pytest.approx(expected, rel=1e-12)


def test_recorded_patch_scores_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/mctformer")
    patches = recorded["in_patch_tokens"].transpose(1, 2).unflatten(2, (5, 5))
    maps = F.conv2d(patches, recorded["in_head_weight"], recorded["in_head_bias"], padding=1)
    expected = recorded["out_patch_logits"]
    scores = global_weighted_ranking(maps, float(recorded["arg_decay"]))
    torch.testing.assert_close(scores, expected, rtol=0, atol=3e-6)
    assert torch.equal(scores, global_weighted_ranking(maps))


def test_no_decay_is_the_mean_and_full_decay_the_maximum() -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(global_weighted_ranking(logits, 1.0), logits.mean(dim=(2, 3)))
    assert torch.equal(global_weighted_ranking(logits, 0.0), logits.amax(dim=(2, 3)))


@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([1.0, 1e30]))
def test_scores_lie_between_mean_and_maximum_and_know_no_order(
    seed: int, decay: float, magnitude: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    scores = global_weighted_ranking(logits, decay)
    slack = 1e-12 * magnitude
    assert (scores <= logits.amax(dim=(2, 3)) + slack).all()
    assert (scores >= logits.mean(dim=(2, 3)) - slack).all()
    moved = logits.flatten(2)[..., torch.randperm(12, generator=generator)].view_as(logits)
    torch.testing.assert_close(global_weighted_ranking(moved, decay), scores)


def test_a_constant_map_scores_its_value_and_no_class_scores_nothing() -> None:
    torch.testing.assert_close(
        global_weighted_ranking(torch.full((1, 2, 40, 40), 3.0)), torch.full((1, 2), 3.0)
    )
    assert global_weighted_ranking(torch.zeros(2, 0, 3, 3)).shape == (2, 0)


def test_the_gradient_is_the_weight_of_the_rank() -> None:
    logits = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: global_weighted_ranking(x, 0.5), logits)
    three = torch.tensor([[[[1.0, 4.0, 2.0]]]], requires_grad=True)
    global_weighted_ranking(three, 0.5).sum().backward()
    torch.testing.assert_close(three.grad, torch.tensor([[[[1 / 7, 4 / 7, 2 / 7]]]]))


def test_precision() -> None:
    logits = torch.randn(2, 3, 8, 8)
    expected = global_weighted_ranking(logits)
    assert global_weighted_ranking(logits.double()).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        half = logits.to(dtype)
        assert torch.equal(global_weighted_ranking(half), global_weighted_ranking(half.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(global_weighted_ranking(logits), expected)
    assert_compiles(global_weighted_ranking, logits)


MAPS = torch.zeros(1, 2, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: global_weighted_ranking(MAPS[0]), ShapeError, r"logits: expected shape \(B, C, h"),
        (
            lambda: global_weighted_ranking(MAPS[..., :0]),
            ShapeError,
            r"logits: expected at least one pixel, got \(1, 2, 3, 0\)",
        ),
        (lambda: global_weighted_ranking(MAPS.int()), TypeError, "logits: expected a floating-poi"),
        (
            lambda: global_weighted_ranking(MAPS, decay=1.1),
            ValueError,
            r"decay: expected a number in \[0, 1\], got 1.1",
        ),
        (
            lambda: global_weighted_ranking(MAPS, decay=None),  # type: ignore[arg-type]
            TypeError,
            "decay: expected a number, got NoneType",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
