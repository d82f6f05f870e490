"""LSTMs along the rows and columns of a grid, against loops and recorded states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from fsr.decoder import GridLSTM
from fsr.errors import ShapeError
from tests.helpers import (
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Floats = NDArray[np.float64]


def build() -> GridLSTM:
    return GridLSTM(3, hidden=2)


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def states_by_loops(tokens: Floats, lstm: nn.LSTM, suffix: str) -> Floats:
    """Hidden states along tokens (n, D), one step at a time; the reverse direction from the end."""
    weight, recurrent, bias, _ = (
        getattr(lstm, f"{name}_l0{suffix}").detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    hidden = np.zeros(lstm.hidden_size)
    cell = np.zeros(lstm.hidden_size)
    states = np.zeros((len(tokens), lstm.hidden_size))
    order = range(len(tokens))
    for index in reversed(order) if suffix else order:
        gates = weight @ tokens[index] + recurrent @ hidden + bias
        entry, forget, value, output = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(value)
        hidden = sigmoid(output) * np.tanh(cell)
        states[index] = hidden
    return states


def grid_by_loops(module: GridLSTM, features: Floats) -> Floats:
    """States (4 * hidden, h, w) of one image."""
    _, height, width = features.shape
    size = module.hidden
    result = np.zeros((4 * size, height, width))
    for direction, suffix in enumerate(("", "_reverse")):
        first = slice(direction * size, (direction + 1) * size)
        second = slice((direction + 2) * size, (direction + 3) * size)
        for y in range(height):
            result[first, y] = states_by_loops(features[:, y].T, module.rows, suffix).T
        for x in range(width):
            result[second, :, x] = states_by_loops(features[:, :, x].T, module.columns, suffix).T
    return result


@pytest.mark.parametrize("size", [(3, 4), (1, 5), (1, 1)])
def test_it_matches_plain_loops(size: tuple[int, int]) -> None:
    module = build().double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    states = module(features)
    for b in range(2):
        expected = grid_by_loops(module, features[b].numpy())
        np.testing.assert_allclose(states[b].detach(), expected, atol=1e-12)


def load_recorded(module: GridLSTM, recorded: dict[str, Tensor]) -> None:
    """Put the recorded weights where torch has them."""
    for axis, lstm in (("row", module.rows), ("col", module.columns)):
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            for theirs, ours in (("kernel", "weight_ih"), ("recurrent", "weight_hh")):
                weight = recorded[f"in_{axis}_{direction}_{theirs}"]
                getattr(lstm, f"{ours}_l0{suffix}").data.copy_(weight.T)
            bias = recorded[f"in_{axis}_{direction}_bias"]
            getattr(lstm, f"bias_ih_l0{suffix}").data.copy_(bias)


def test_recorded_states_and_gradient_are_reproduced(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    recorded = parity("systems/vit_pcm_hv_bilstm")
    module = GridLSTM(7, int(recorded["arg_hidden"]))
    load_recorded(module, recorded)
    features = recorded["in_features"].requires_grad_()
    states = module(features)
    states.square().sum().backward()
    torch.testing.assert_close(states, recorded["out_features"], rtol=0, atol=7e-6)
    torch.testing.assert_close(features.grad, recorded["grad_features"], rtol=0, atol=6e-6)


def test_a_token_reaches_its_row_and_its_column_and_nothing_else() -> None:
    module = build()
    before = torch.randn(1, 3, 4, 5)
    after = before.clone()
    after[..., 1, 2] += 1
    changed = (module(after) - module(before)).abs()[0] > 0
    rows_left, rows_right, from_above, from_below = changed.unflatten(0, (4, 2)).any(dim=1)
    assert rows_left.nonzero().tolist() == [[1, x] for x in range(2, 5)]
    assert rows_right.nonzero().tolist() == [[1, x] for x in range(3)]
    assert from_above.nonzero().tolist() == [[y, 2] for y in range(1, 4)]
    assert from_below.nonzero().tolist() == [[y, 2] for y in range(2)]


@given(st.integers(0, 2**16))
def test_an_images_states_do_not_depend_on_its_batch_and_stay_within_one(seed: int) -> None:
    features = 10 * torch.randn(3, 3, 2, 4, generator=torch.Generator().manual_seed(seed))
    module = build()
    together = module(features)
    assert together.abs().max() <= 1
    for b in range(3):
        torch.testing.assert_close(module(features[b : b + 1])[0], together[b])


def test_weights_start_as_released_and_one_bias_is_trained() -> None:
    module = GridLSTM(64, hidden=16)
    for lstm in (module.rows, module.columns):
        for suffix in ("", "_reverse"):
            weight = getattr(lstm, f"weight_ih_l0{suffix}")
            assert weight.abs().max().item() == pytest.approx((6 / 128) ** 0.5, rel=0.01)
            recurrent = getattr(lstm, f"weight_hh_l0{suffix}")
            torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(16))
            bias = getattr(lstm, f"bias_ih_l0{suffix}")
            assert bias.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
            assert bias.requires_grad
            other = getattr(lstm, f"bias_hh_l0{suffix}")
            assert not other.any()
            assert not other.requires_grad


def test_gradients_are_those_of_finite_differences() -> None:
    module = build().double()
    features = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    trained = [p for p in module.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda features, *_: module(features), (features, *trained))


def test_state_copies_types_and_device(device: torch.device) -> None:
    module = build()
    features = torch.randn(2, 3, 4, 5)
    assert_state_dict_round_trip(module, build, features)
    assert_deepcopy_after_forward(module, features)
    assert_pickles(module, features)
    expected = module(features)
    assert repr(GridLSTM(8).rows) == "LSTM(8, 192, batch_first=True, bidirectional=True)"
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module(features)
    torch.testing.assert_close(mixed.float(), expected, rtol=0.1, atol=0.1)
    moved = module.to(device)(features.to(device))
    torch.testing.assert_close(moved.cpu(), expected, rtol=1e-4, atol=1e-5)


def test_it_compiles_with_or_without_breaks_at_the_recurrence() -> None:
    module, features = build(), torch.randn(2, 3, 4, 5)
    expected = module(features)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager")
    torch.testing.assert_close(compiled(features), expected)


@pytest.mark.parametrize("name", ["dim", "hidden"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer, got 0"):
        GridLSTM(**{"dim": 3, "hidden": 2, name: 0})


def test_bad_features_are_named() -> None:
    with pytest.raises(ShapeError, match=r"features: expected shape \(B, D, h, w\) with D=3, got"):
        build()(torch.zeros(1, 4, 2, 2))
    for shape in ((0, 3, 2, 2), (1, 3, 0, 2), (1, 3, 2, 0)):
        with pytest.raises(ShapeError, match="features: expected at least one"):
            build()(torch.zeros(shape))
    with pytest.raises(TypeError, match="features: expected a floating-point tensor"):
        build()(torch.zeros(1, 3, 2, 2, dtype=torch.long))
