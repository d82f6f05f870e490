"""The projection head against loops, and what its frozen norms promise."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fsr.errors import ShapeError
from fsr.projection import ProjectionHead, WeightNormLinear, project_tokens
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)


def build(num_layers: int = 3) -> ProjectionHead:
    return ProjectionHead(5, 7, hidden_dim=6, bottleneck_dim=4, num_layers=num_layers)


def by_loops(head: ProjectionHead, token: np.ndarray) -> np.ndarray:
    """Every linear layer, GELU and cosine written out for one token."""
    linears = [layer for layer in head.mlp if isinstance(layer, torch.nn.Linear)]
    values = list(token)
    for position, linear in enumerate(linears):
        weight, bias = linear.weight.tolist(), linear.bias.tolist()
        values = [
            sum(w * v for w, v in zip(row, values, strict=True)) + b
            for row, b in zip(weight, bias, strict=True)
        ]
        if position < len(linears) - 1:
            values = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in values]
    scores = []
    for prototype in head.state_dict()["prototypes.parametrizations.weight.original1"].tolist():
        dot = sum(p * v for p, v in zip(prototype, values, strict=True))
        lengths = math.sqrt(sum(p * p for p in prototype)) * math.sqrt(sum(v * v for v in values))
        scores.append(dot / lengths)
    return np.array(scores)


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
def test_matches_loops(num_layers: int, device: torch.device) -> None:
    head = build(num_layers).double().to(device)
    with torch.no_grad():  # The initial weights are too small to bend GELU.
        for parameter in head.mlp.parameters():
            parameter.copy_(torch.randn_like(parameter))
    tokens = torch.randn(2, 3, 5, dtype=torch.float64, device=device)
    scores = head(tokens)
    assert scores.shape == (2, 3, 7)
    for b in range(2):
        for n in range(3):
            expected = by_loops(head.cpu(), tokens[b, n].cpu().numpy())
            np.testing.assert_allclose(scores[b, n].detach().cpu().numpy(), expected, rtol=1e-10)


def test_prototype_norms_are_one_and_stay_so_in_training() -> None:
    head = build()
    assert not head.prototype_norms.requires_grad
    optimizer = torch.optim.SGD(head.parameters(), lr=10.0)
    for _ in range(3):
        optimizer.zero_grad()
        head(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
    assert torch.equal(head.prototype_norms, torch.ones(7, 1))
    torch.testing.assert_close(head.prototypes.weight.norm(dim=1), torch.ones(7))


def test_every_other_parameter_gets_a_gradient() -> None:
    head = build()
    head(torch.randn(4, 5)).square().sum().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None]
    assert silent == ["prototypes.parametrizations.weight.original0"]


def test_gradcheck() -> None:
    head = build(2).double()
    tokens = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    weights = [p for p in head.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda tokens, *_: head(tokens), (tokens, *weights))


@given(st.floats(0.01, 100.0), st.integers(0, 2**16))
def test_scores_are_cosines_whatever_the_bottlenecks_scale(scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    head = ProjectionHead(5, 7, bottleneck_dim=4, num_layers=1)
    tokens = torch.randn(3, 5)
    scores = head(tokens)
    assert scores.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        for parameter in head.mlp.parameters():
            parameter.mul_(scale)
    torch.testing.assert_close(head(tokens), scores, rtol=1e-4, atol=1e-5)


def test_a_zero_bottleneck_gives_zeros_not_nan() -> None:
    head = ProjectionHead(5, 7, bottleneck_dim=4, num_layers=1)
    assert torch.equal(head(torch.zeros(1, 5)), torch.zeros(1, 7))


def test_half_precision_norms_do_not_overflow() -> None:
    head = ProjectionHead(2, 3, bottleneck_dim=2, num_layers=1)
    with torch.no_grad():
        head.mlp[0].weight.copy_(torch.eye(2))
    tokens = torch.tensor([[3.0, 4.0]])
    expected = head(tokens)
    half = head.half()
    for scale in (1e-5, 1.5e4):
        torch.testing.assert_close(
            half((tokens * scale).half()).float(), expected, rtol=1e-2, atol=1e-2
        )


def test_follows_dtype_and_autocast() -> None:
    head = build()
    tokens = torch.randn(2, 3, 5)
    expected = head(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = head(tokens)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=0.05, atol=0.05)
    assert head.double()(tokens.double()).dtype == torch.float64


def test_state_copies_and_compilation() -> None:
    tokens = torch.randn(2, 3, 5)
    head = build()
    head(tokens).sum().backward()
    assert_state_dict_round_trip(head, build, tokens)
    assert_deepcopy_after_forward(head, tokens)
    assert_pickles(head, tokens)
    assert_compiles(head, tokens)


def test_states_of_torchs_weight_norms_old_and_new_are_taken() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        older = nn.utils.weight_norm(nn.Linear(4, 7, bias=False))
    newer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 7, bias=False))
    layer, features = WeightNormLinear(4, 7), torch.randn(3, 4)
    for other in (older, newer):
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.copy_(torch.randn_like(parameter))
        layer.load_state_dict(other.state_dict())
        assert torch.equal(layer(features), other(features))
    assert list(layer.state_dict()) == list(newer.state_dict())
    newer.load_state_dict(layer.state_dict())
    head = build()
    state = head.state_dict()
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        state[f"prototypes.{old}"] = state.pop(f"prototypes.parametrizations.weight.{new}")
    build().load_state_dict(state)


def test_weight_norm_starts_as_the_linear_layer_and_torchs_own_form_do() -> None:
    torch.manual_seed(5)
    layer = WeightNormLinear(4, 7)
    torch.manual_seed(5)
    plain = nn.Linear(4, 7, bias=False)
    torch.manual_seed(5)
    own = nn.utils.parametrizations.weight_norm(nn.Linear(4, 7, bias=False))
    assert torch.equal(layer.directions, plain.weight)
    assert torch.equal(layer.weight, own.weight)
    torch.testing.assert_close(layer.weight, plain.weight)
    assert repr(layer).startswith("WeightNormLinear(\n  in_features=4, out_features=7")


def test_default_backend_compiles() -> None:
    assert_compiles(build(), torch.randn(2, 3, 5), backend="inductor")


def test_default_size_is_the_papers() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ProjectionHead(768).state_dict().items()}
    assert shapes["prototypes.parametrizations.weight.original1"] == (4096, 256)
    assert [shapes[f"mlp.{i}.weight"] for i in (0, 2, 4)] == [
        (2048, 768),
        (2048, 2048),
        (256, 2048),
    ]


@pytest.mark.parametrize(
    "name", ["in_dim", "out_dim", "hidden_dim", "bottleneck_dim", "num_layers"]
)
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer, got 0"):
        ProjectionHead(**{"in_dim": 4, name: 0})
    with pytest.raises(TypeError, match=f"{name}: expected a positive integer, got 1.5"):
        ProjectionHead(**{"in_dim": 4, name: 1.5})


def test_bad_tokens_are_named() -> None:
    head = build()
    with pytest.raises(ShapeError, match=r"tokens: expected shape \(\.\.\., D\) with D=5, got"):
        head(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match=r"got \(5,\)"):
        head(torch.zeros(5))
    with pytest.raises(TypeError, match="tokens: expected a floating-point tensor, got "):
        head(torch.zeros(2, 5, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"tokens: expected a tensor \(\.\.\., D\), got list"):
        head([1.0])


# -- Eq. 1 -----------------------------------------------------------------------------------------


def test_eq_1_projects_every_row_alone_with_the_aggregate_first() -> None:
    head = ProjectionHead(4, out_dim=6, hidden_dim=8, bottleneck_dim=3).eval()
    aggregated, tokens = torch.randn(2, 4), torch.randn(2, 5, 4)
    projected = project_tokens(aggregated, tokens, head)
    assert projected.shape == (2, 6, 6)
    torch.testing.assert_close(projected[:, 0], head(aggregated))
    for row in range(5):
        torch.testing.assert_close(projected[:, 1 + row], head(tokens[:, row]))


def test_eq_1_refuses_shapes_that_do_not_fit() -> None:
    head = ProjectionHead(4, out_dim=6, hidden_dim=8, bottleneck_dim=3)
    with pytest.raises(ShapeError, match=r"tokens: expected shape \(B, N, D\), got \(2, 4\)"):
        project_tokens(torch.zeros(2, 4), torch.zeros(2, 4), head)
    with pytest.raises(ShapeError, match=r"aggregated: expected shape \(B, D\) with B=2, D=4, got"):
        project_tokens(torch.zeros(3, 4), torch.zeros(2, 5, 4), head)
