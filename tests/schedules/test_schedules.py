"""Schedules against plain arithmetic, recorded figures and their own promises."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsr.schedules import (
    constant,
    cosine,
    linear_warmup,
    run_momentum,
    switch,
    warmup_cosine,
)

ALL = [
    constant(0.5),
    cosine(0.9995, 1.0, 10),
    linear_warmup(0.04, 0.07, 5),
    switch(0.0, 0.1, 3),
    warmup_cosine(6e-5, warmup_steps=3, total_steps=10, warmup_ratio=0.1),
]
Parity = Callable[[str], dict[str, torch.Tensor]]
numbers = st.floats(-10, 10)


def test_cosine_gives_the_recorded_momentum(parity: Parity) -> None:
    recorded = parity("schedules")["momentum"].tolist()
    momentum = cosine(0.9995, 1.0, total_steps=len(recorded))
    assert [momentum(step) for step in range(len(recorded))] == pytest.approx(recorded, abs=1e-9)


def test_warmup_cosine_gives_the_recorded_learning_rate(parity: Parity) -> None:
    recorded = parity("lr")
    rate = warmup_cosine(
        recorded["base"].item(),
        warmup_steps=int(recorded["warmup_iters"]),
        total_steps=int(recorded["max_iters"]),
        warmup_ratio=recorded["warmup_ratio"].item(),
    )
    expected = recorded["lr"].tolist()
    assert [rate(step) for step in range(len(expected))] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 37])
def test_linear_warmup_is_linspace_then_constant(count: int) -> None:
    expected = [*np.linspace(0.04, 0.07, count), 0.07, 0.07]
    temperature = linear_warmup(0.04, 0.07, count)
    got = [temperature(step) for step in range(count + 2)]
    assert got == pytest.approx(expected, abs=1e-12)


def test_linear_warmup_without_steps_is_the_end_value() -> None:
    assert linear_warmup(0.04, 0.07, 0)(0) == 0.07


def test_linear_warmup_serves_the_recorded_teacher_temperature(parity: Parity) -> None:
    recorded = parity("fsr_loss")
    start, end = recorded["teacher_temp_warmup"].item(), recorded["teacher_temp"].item()
    count = int(recorded["warmup_steps"])
    steps = [int(recorded[f"s{i}_step"]) for i in range(3)]
    temperature = linear_warmup(start, end, count)
    assert steps == [0, 3, 12]
    expected = [*np.linspace(start, end, count), end]
    assert [temperature(s) for s in steps] == pytest.approx([expected[0], expected[3], expected[5]])


def test_warmup_cosine_in_plain_loops() -> None:
    rate = warmup_cosine(2.0, warmup_steps=4, total_steps=12, warmup_ratio=0.25)
    for step in range(15):
        if step < 4:
            expected = 0.5 + 1.5 * step / 4
        elif step < 12:
            expected = 2.0 * (math.cos(math.pi * (step - 4) / 8) + 1) / 2
        else:
            expected = 0.0
        assert rate(step) == pytest.approx(expected, abs=1e-12)


def test_a_cosine_may_end_above_zero() -> None:
    rate = warmup_cosine(2.0, warmup_steps=2, total_steps=6, warmup_ratio=0.5, final=1.0)
    found = [rate(step) for step in (0, 1, 2, 3, 4, 6, 9)]
    assert found == pytest.approx([1.0, 1.5, 2.0, 1.5 + math.sqrt(0.5) / 2, 1.5, 1.0, 1.0])
    with pytest.raises(ValueError, match="final: expected a number"):
        warmup_cosine(2.0, warmup_steps=2, total_steps=6, final=math.inf)


def test_warmup_may_be_left_out() -> None:
    rate = warmup_cosine(2.0, warmup_steps=0, total_steps=2)
    assert [rate(0), rate(1), rate(2)] == pytest.approx([2.0, 1.0, 0.0])


@given(numbers, numbers, st.integers(1, 50), st.integers(0, 100))
def test_every_value_lies_between_the_ends(a: float, b: float, count: int, step: int) -> None:
    low, high = min(a, b) - 1e-9, max(a, b) + 1e-9
    for schedule in (cosine(a, b, count), linear_warmup(a, b, count), switch(a, b, count)):
        assert low <= schedule(step) <= high


@given(numbers, numbers, st.integers(1, 50))
def test_past_the_end_a_schedule_keeps_exactly_its_last_value(a: float, b: float, n: int) -> None:
    for schedule in (cosine(a, b, n), linear_warmup(a, b, n), switch(a, b, n)):
        assert schedule(n) == schedule(10 * n) == b


@given(st.integers(1, 50))
def test_a_momentum_never_leaves_the_unit_interval(count: int) -> None:
    momentum = cosine(0.9995, 1.0, count)
    assert all(0.9995 <= momentum(step) <= 1.0 for step in range(count + 2))


def test_switch_changes_at_its_step() -> None:
    weight = switch(0.0, 0.1, 3)
    assert [weight(s) for s in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.1]
    assert switch(0.0, 0.1, 0)(0) == 0.1


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_values_are_plain_floats(schedule: Callable[[int], float]) -> None:
    # Integers in a configuration and NumPy scalars must not leak into checkpoints.
    assert all(type(schedule(step)) is float for step in (0, 1, 4, 100))
    assert type(cosine(np.float64(1), 0, 4)(1)) is float
    assert type(switch(0, 1, 2)(0)) is float
    assert type(constant(1)(0)) is float


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_schedules_pickle_copy_compare_and_print_as_their_call(
    schedule: Callable[[int], float],
) -> None:
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule
    assert eval(repr(schedule)) == schedule


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: cosine("a", 1.0, 10), TypeError, "start: expected a number, got str"),
        (lambda: cosine(0.0, math.nan, 10), ValueError, "end: expected a number in .*got nan"),
        (lambda: cosine(0.0, 1.0, 0), ValueError, "total_steps: expected a positive integer"),
        (lambda: cosine(0.0, 1.0, 2.5), TypeError, "total_steps: expected a positive integer"),
        (lambda: linear_warmup(math.inf, 1.0, 10), ValueError, "start: .*got inf"),
        (lambda: linear_warmup(0.0, True, 10), TypeError, "end: expected a number, got bool"),
        (lambda: linear_warmup(0.0, 1.0, -1), ValueError, "warmup_steps: .*got -1"),
        (lambda: linear_warmup(0.0, 1.0, 1.5), TypeError, "warmup_steps: expected an integer"),
        (lambda: switch(None, 1.0, 1), TypeError, "before: expected a number"),
        (lambda: switch(0.0, None, 1), TypeError, "after: expected a number"),
        (lambda: switch(0.0, 1.0, -3), ValueError, "at_step: .*got -3"),
        (lambda: constant("x"), TypeError, "value: expected a number"),
        (
            lambda: warmup_cosine(1.0, warmup_steps=10, total_steps=10),
            ValueError,
            "warmup_steps: expected less than total_steps=10, got 10",
        ),
        (
            lambda: warmup_cosine(math.nan, warmup_steps=1, total_steps=10),
            ValueError,
            "base: .*got nan",
        ),
        (
            lambda: warmup_cosine(1.0, warmup_steps=-1, total_steps=10),
            ValueError,
            "warmup_steps: .*got -1",
        ),
        (
            lambda: warmup_cosine(1.0, warmup_steps=1, total_steps=-1),
            ValueError,
            "total_steps: expected a positive integer",
        ),
        (
            lambda: warmup_cosine(1.0, warmup_steps=1, total_steps=10, warmup_ratio=1.5),
            ValueError,
            r"warmup_ratio: expected a number in \[0.0, 1.0\], got 1.5",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    build: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_bad_step_is_refused(schedule: Callable[[int], float]) -> None:
    with pytest.raises(ValueError, match=r"step: expected a number in .*got -1"):
        schedule(-1)
    with pytest.raises(TypeError, match="step: expected a number, got NoneType"):
        schedule(None)  # type: ignore[arg-type]


# -- a momentum by the length of the run ----------------------------------------------------------


@pytest.mark.parametrize(("total", "memories"), [(400, 20.0), (20_000, 20.0), (37, 3), (1, 0.5)])
def test_a_run_has_so_many_memories(total: int, memories: float) -> None:
    left = 1.0
    for _ in range(total):
        left *= run_momentum(total, memories)
    assert math.log(left) == pytest.approx(-memories)


def test_a_run_has_twenty_memories_by_default() -> None:
    assert run_momentum(400) == run_momentum(400, 20.0) == pytest.approx(0.951229424500714)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: run_momentum(0), ValueError, "total_steps: expected a positive integer, got 0"),
        (lambda: run_momentum(1.5), TypeError, "total_steps: expected a positive integer"),
        (lambda: run_momentum(9, 0.0), ValueError, r"memories: expected a number in \(0.0, inf\)"),
        (lambda: run_momentum(9, math.inf), ValueError, "memories: .*got inf"),
        (lambda: run_momentum(9, "20"), TypeError, "memories: expected a number, got str"),
    ],
)
def test_a_bad_run_is_refused(
    build: Callable[[], float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()
