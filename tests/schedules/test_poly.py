"""Polynomial learning rates against the recorded ones, plain arithmetic and their own promises."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsr.schedules import two_poly, warmup_poly

Parity = Callable[[str], dict[str, torch.Tensor]]
ALL: list[Callable[[int], float]] = [
    warmup_poly(6e-5, warmup_steps=3, total_steps=10),
    warmup_poly(0.1, warmup_steps=0, total_steps=4, warmup_ratio=0.5, power=1.0),
    two_poly(0.1, 0.0007, at_step=3, total_steps=10),
]


def test_the_recorded_rates_of_toco(parity: Parity) -> None:
    recorded = parity("systems/toco_poly_lr")
    steps = int(recorded["arg_total_steps"])
    for group, base in enumerate(recorded["arg_base"].tolist()):
        rate = warmup_poly(
            base,
            warmup_steps=int(recorded["arg_warmup_steps"]),
            total_steps=steps,
            warmup_ratio=recorded["arg_warmup_ratio"].item(),
            power=recorded["arg_power"].item(),
        )
        expected = recorded["out_lr"][:, group].tolist()
        assert [rate(step) for step in range(steps)] == pytest.approx(expected, abs=1e-9 * base)


@pytest.mark.parametrize("method", ["seam", "recam", "rrm"])
def test_the_recorded_rates_of_sgd(parity: Parity, method: str) -> None:
    recorded = parity("systems/poly_sgd")
    steps, power = int(recorded["arg_total_steps"]), recorded["arg_power"].item()
    for group, base in enumerate(recorded[f"arg_base_{method}"].tolist()):
        rate: Callable[[int], float] = warmup_poly(
            base, warmup_steps=0, total_steps=steps, power=power
        )
        if method == "rrm":
            rate = two_poly(base, 0.0007, at_step=steps // 2, total_steps=steps, power=power)
        expected = recorded[f"out_lr_{method}"][:, group].tolist()
        assert [rate(t) for t in range(steps)] == pytest.approx(expected[:steps], abs=1e-9 * base)
        # Past the end the released optimiser repeats its last rate, which no run gets to.
        assert expected[steps:] == [expected[steps - 1]] * 2
        assert rate(steps) == rate(steps + 1) == 0.0


def test_the_formula_in_plain_loops() -> None:
    rate = warmup_poly(2.0, warmup_steps=4, total_steps=12, warmup_ratio=0.25, power=0.5)
    both = two_poly(3.0, 2.0, at_step=4, total_steps=12, power=2.0)
    for step in range(15):
        if step < 4:
            expected = 0.5 + 1.5 * step / 4
            phase = 3.0 * ((4 - step) / 4) ** 2
        elif step < 12:
            expected = 2.0 * math.sqrt((12 - step) / 12)
            phase = 2.0 * ((12 - step) / 8) ** 2
        else:
            expected = phase = 0.0
        assert rate(step) == pytest.approx(expected, abs=1e-12)
        assert both(step) == pytest.approx(phase, abs=1e-12)


def test_the_rate_drops_where_the_warm_up_ends() -> None:
    rate = warmup_poly(1.0, warmup_steps=50, total_steps=100, power=1.0)
    assert rate(49) == pytest.approx(0.98, abs=1e-6)
    assert rate(50) == 0.5


@given(st.floats(1e-6, 10), st.integers(0, 40), st.integers(41, 90), st.integers(0, 100))
def test_every_value_lies_between_0_and_the_base(base: float, warm: int, n: int, step: int) -> None:
    rate = warmup_poly(base, warmup_steps=warm, total_steps=n)
    assert 0 <= rate(step) <= base
    assert rate(n) == 0.0
    if step >= warm:
        assert rate(step + 1) <= rate(step)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_they_are_values_that_return_plain_floats(schedule: Callable[[int], float]) -> None:
    assert all(type(schedule(step)) is float for step in (0, 3, 5, 100))
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule
    assert eval(repr(schedule)) == schedule
    with pytest.raises(ValueError, match=r"step: expected a number in .*got -1"):
        schedule(-1)
    with pytest.raises(TypeError, match="step: expected a number, got NoneType"):
        schedule(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"base": math.nan}, ValueError, "base: .*got nan"),
        ({"warmup_steps": 10}, ValueError, "warmup_steps: expected less than total_steps=10, got"),
        ({"warmup_steps": -1}, ValueError, "warmup_steps: .*got -1"),
        ({"warmup_steps": 1.5}, TypeError, "warmup_steps: expected an integer of at least 0"),
        ({"total_steps": 0}, ValueError, "total_steps: expected a positive integer, got 0"),
        ({"warmup_ratio": 1.5}, ValueError, "warmup_ratio: expected a number in .*got 1.5"),
        ({"power": 0.0}, ValueError, r"power: expected a number in \(0.0, inf\), got 0.0"),
        ({"power": "1"}, TypeError, "power: expected a number, got str"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        warmup_poly(**({"base": 1.0, "warmup_steps": 2, "total_steps": 10} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"first": "a"}, TypeError, "first: expected a number, got str"),
        ({"second": math.inf}, ValueError, "second: .*got inf"),
        ({"at_step": 0}, ValueError, "at_step: expected a positive integer, got 0"),
        ({"at_step": 10}, ValueError, "at_step: expected less than total_steps=10, got 10"),
        ({"total_steps": 2.5}, TypeError, "total_steps: expected a positive integer, got 2.5"),
        ({"power": -1.0}, ValueError, "power: .*got -1.0"),
    ],
)
def test_bad_phases_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        two_poly(**({"first": 1.0, "second": 1.0, "at_step": 5, "total_steps": 10} | changes))
