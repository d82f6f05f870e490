"""The stochastic gate: recorded mixtures, what it draws, and its expectation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.decoder import StochasticGate, stochastic_gate
from fsr.errors import ShapeError
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)


def features(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    deep, shallow = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64).to(dtype)
    return deep, shallow


def test_recorded_mixtures_are_reproduced(parity: Callable[[str], dict[str, Tensor]]) -> None:
    recorded = parity("systems/one_stage_gate")
    deep, shallow, keep = (recorded[f"in_{name}"] for name in ("deep", "shallow", "keep"))
    gate = StochasticGate(float(recorded["arg_rate"]))
    for given_keep in (keep, keep.bool(), keep.float()):
        mixed = gate(deep, shallow, keep=given_keep)
        torch.testing.assert_close(mixed, recorded["out_train"], rtol=0, atol=1e-6)
    torch.testing.assert_close(gate.eval()(deep, shallow), recorded["out_eval"], rtol=0, atol=1e-6)
    assert repr(StochasticGate()) == "StochasticGate(rate=0.3)"


def test_it_matches_plain_loops() -> None:
    deep, shallow = features()
    keep = torch.rand(deep.shape) < 0.5
    mixed = stochastic_gate(deep, shallow, keep, rate=0.25)
    for place in np.ndindex(*deep.shape):
        d, s = deep[place].item(), shallow[place].item()
        expected = (d - 0.25 * s) / 0.75 if keep[place] else s
        assert mixed[place].item() == pytest.approx(expected, rel=1e-12)


def test_training_draws_every_element_and_keeps_the_share_that_it_should() -> None:
    deep, shallow = torch.ones(4, 8, 32, 32), torch.zeros(4, 8, 32, 32)
    mixed = StochasticGate(rate=0.3)(deep, shallow)
    assert mixed.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    share = (mixed > 0).float()
    # 32,768 draws: five standard deviations of their share are 0.013.
    assert share.mean().item() == pytest.approx(0.7, abs=0.013)
    assert share[0].ne(share[1]).any()
    assert share[:, 0].ne(share[:, 1]).any()
    assert mixed.mean().item() == pytest.approx(1.0, abs=0.02)


def test_every_size_is_drawn_anew() -> None:
    gate = StochasticGate()
    for size in ((2, 3, 4, 4), (5, 1, 7, 2)):
        assert gate(torch.randn(size), torch.randn(size)).shape == size
    deep, shallow = features()
    assert not torch.equal(gate(deep, shallow), gate(deep, shallow))


def test_a_generator_repeats_the_draw(device: torch.device) -> None:
    deep, shallow = (value.to(device) for value in features())
    gate = StochasticGate()
    first, second = (
        gate(deep, shallow, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert first.device.type == device.type
    assert torch.equal(first, second)


@given(st.integers(0, 1000), st.floats(0, 0.9))
def test_equal_features_pass_whatever_is_drawn(seed: int, rate: float) -> None:
    deep, _ = features(seed)
    gate = StochasticGate(rate)
    torch.testing.assert_close(gate(deep, deep), deep)
    torch.testing.assert_close(gate.eval()(deep, deep), deep)


def test_a_rate_of_zero_passes_the_deep_features() -> None:
    deep, shallow = features()
    gate = StochasticGate(rate=0)
    assert torch.equal(gate(deep, shallow), deep)
    assert torch.equal(gate.eval()(deep, shallow), deep)


def test_gradients_are_those_of_finite_differences() -> None:
    deep, shallow = (value[:1, :2].requires_grad_() for value in features())
    keep = torch.rand(deep.shape) < 0.5
    gate = StochasticGate()
    assert torch.autograd.gradcheck(lambda d, s: gate(d, s, keep=keep), (deep, shallow))
    assert torch.autograd.gradcheck(StochasticGate().eval(), (deep, shallow))


def test_state_copies_types_and_compilation() -> None:
    deep, shallow = features(dtype=torch.float32)
    keep = torch.rand(deep.shape) < 0.5
    gate = StochasticGate()
    assert not gate.state_dict()
    assert_state_dict_round_trip(gate, StochasticGate, deep, shallow, keep=keep)
    assert_deepcopy_after_forward(gate, deep, shallow, keep=keep)
    assert_pickles(gate.eval(), deep, shallow)
    assert_compiles(gate.train(), deep, shallow, keep=keep)
    assert_compiles(gate.eval(), deep, shallow)
    for dtype in (torch.bfloat16, torch.float64):
        assert gate.train()(deep.to(dtype), shallow.to(dtype)).dtype == dtype


MAPS = torch.zeros(1, 2, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: StochasticGate(rate=1), ValueError, r"rate: expected a number in \[0, 1\), got 1"),
        (lambda: StochasticGate(rate=-0.1), ValueError, r"rate: expected a number in \[0, 1"),
        (lambda: StochasticGate(rate="x"), TypeError, "rate: expected a number, got str"),  # type: ignore[arg-type]
        (lambda: StochasticGate()(MAPS[0], MAPS), ShapeError, r"deep: expected shape \(B, D, H"),
        (
            lambda: StochasticGate()(MAPS, MAPS[:, :1]),
            ShapeError,
            r"shallow: expected shape \(B, D, H, W\) with B=1, D=2, H=3, W=3, got \(1, 1, 3, 3\)",
        ),
        (lambda: StochasticGate()(MAPS.int(), MAPS), TypeError, "deep: expected a floating-point"),
        (lambda: StochasticGate()(MAPS, MAPS.int()), TypeError, "shallow: expected a floating-"),
        (
            lambda: StochasticGate()(MAPS, MAPS, keep=MAPS[:, :1]),
            ShapeError,
            r"keep: expected shape \(B, D, H, W\) with B=1, D=2, H=3, W=3",
        ),
        (
            lambda: StochasticGate()(MAPS, MAPS, keep=MAPS, generator=torch.Generator()),
            ValueError,
            "generator: expected None beside keep=, got both",
        ),
        (lambda: stochastic_gate(MAPS, MAPS, MAPS, 1.0), ValueError, r"rate: expected .* got 1.0"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
