"""Aggregators: Eq. 5 to 7, the three kinds of masking, GAP and GMP of Table 4."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from fsr.aggregation import (
    AggregationBlock,
    AverageAggregator,
    CrossAttention,
    MaskedCrossAttentionAggregator,
    MaxAggregator,
    cross_attention_weights,
    masked_cross_attention,
)
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Load = Callable[[str], dict[str, Tensor]]
Array = NDArray[np.float64]
POOLS = [AverageAggregator, MaxAggregator]
MASKINGS = ["exclude", "scale", "ignore"]


def build(masking: str = "exclude", depth: int = 2, dim: int = 8) -> MaskedCrossAttentionAggregator:
    """An aggregator whose weights are large enough for the attention to be uneven."""
    torch.manual_seed(1)
    aggregator = MaskedCrossAttentionAggregator(dim, depth, 2, masking=masking)
    for parameter in aggregator.parameters():
        nn.init.normal_(parameter, std=0.5)
    return aggregator


def all_aggregators() -> list[nn.Module]:
    return [build(), build("scale"), build("ignore"), AverageAggregator(), MaxAggregator()]


def some_tokens(batch: int = 3, count: int = 6, dim: int = 8) -> tuple[Tensor, Tensor]:
    """Tokens and a mask of which every row leaves some token visible."""
    mask = torch.rand(batch, count) < 0.5
    mask[:, 0] = True
    mask[:, 1] = False
    return torch.randn(batch, count, dim), mask


# -- plain loops written from the paper -----------------------------------------------------------


def numpy_attention(
    q: Array, k: Array, v: Array, mask: NDArray[np.bool_], masking: str
) -> tuple[Array, Array]:
    """Eq. 7 of one head of one image: weights (N) and what is gathered (d)."""
    keep = [j for j in range(len(k)) if not (masking == "exclude" and mask[j])]
    logits = {}
    for j in keep:
        product = sum(q[c] * k[j, c] for c in range(len(q)))
        if masking == "scale":
            product *= 1 - int(mask[j])
        logits[j] = product / math.sqrt(len(q))
    total = sum(math.exp(value) for value in logits.values())
    weights = np.zeros(len(k))
    for j in keep:
        weights[j] = math.exp(logits[j]) / total
    return weights, sum(weights[j] * v[j] for j in keep)


def numpy_aggregate(
    weights: dict[str, Array], tokens: Array, mask: NDArray[np.bool_], depth: int, masking: str
) -> tuple[Array, list[Array]]:
    """Eq. 5 to 7 for one image with two heads: the class token and the attention per block."""

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x: Array) -> Array:
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    z, maps = weights["class_token"][0, 0], []
    half = len(z) // 2
    for layer in range(depth):
        name = f"blocks.{layer}"
        both = norm(np.concatenate([z[None], tokens]), f"{name}.norm1")
        q = linear(both[0], f"{name}.attn.q")
        k, v = linear(both[1:], f"{name}.attn.k"), linear(both[1:], f"{name}.attn.v")
        heads = [
            numpy_attention(q[part], k[:, part], v[:, part], mask, masking)
            for part in (slice(0, half), slice(half, None))
        ]
        maps.append(np.stack([head[0] for head in heads]))
        z = z + linear(np.concatenate([head[1] for head in heads]), f"{name}.attn.proj")
        hidden = gelu(linear(norm(z, f"{name}.norm2"), f"{name}.mlp.fc1"))
        z = z + linear(hidden, f"{name}.mlp.fc2")
    return z, maps


@pytest.mark.parametrize("masking", MASKINGS)
def test_plain_loops_written_from_the_equations(masking: str) -> None:
    aggregator = build(masking).double()
    tokens, mask = some_tokens()
    result = aggregator(tokens.double(), mask)
    maps = aggregator.attention_maps(tokens.double(), mask)
    weights = {name: value.numpy() for name, value in aggregator.state_dict().items()}
    for i in range(3):
        expected = numpy_aggregate(weights, tokens[i].double().numpy(), mask[i].numpy(), 2, masking)
        np.testing.assert_allclose(result[i].detach().numpy(), expected[0], atol=1e-10)
        np.testing.assert_allclose(maps[i].detach().numpy(), np.stack(expected[1]), atol=1e-10)


@pytest.mark.parametrize("masking", MASKINGS)
def test_one_head_scales_by_the_root_of_the_whole_width(masking: str) -> None:
    q, k, v = torch.randn(1, 1, 1, 5), torch.randn(1, 1, 4, 5), torch.randn(1, 1, 4, 5)
    mask = torch.tensor([[True, False, False, True]])
    arrays = [x.double().numpy() for x in (q[0, 0, 0], k[0, 0], v[0, 0])]
    weights, gathered = numpy_attention(arrays[0], arrays[1], arrays[2], mask[0].numpy(), masking)
    own = cross_attention_weights(q, k, mask, masking)
    np.testing.assert_allclose(own[0, 0, 0].numpy(), weights, atol=1e-6)
    own = masked_cross_attention(q, k, v, mask, masking)
    np.testing.assert_allclose(own[0, 0, 0].numpy(), gathered, atol=1e-6)


@pytest.mark.parametrize("pool", POOLS)
def test_pools_are_the_mean_and_the_maximum_of_the_unmasked(pool: type[nn.Module]) -> None:
    tokens, mask = some_tokens()
    reduce = np.mean if pool is AverageAggregator else np.max
    for given_mask in (mask, None):
        result = pool()(tokens, given_mask)
        for i in range(3):
            keep = [j for j in range(6) if given_mask is None or not given_mask[i, j]]
            expected = [reduce([tokens[i, j, c].item() for j in keep]) for c in range(8)]
            np.testing.assert_allclose(result[i].numpy(), expected, atol=1e-6)


# -- recorded values ------------------------------------------------------------------------------


@pytest.fixture
def recorded(parity: Load) -> Callable[[str], MaskedCrossAttentionAggregator]:
    arrays = parity("aggregation")

    def load(masking: str) -> MaskedCrossAttentionAggregator:
        state = {f"blocks.{k.removeprefix('w.')}": v for k, v in arrays.items() if k[:2] == "w."}
        state["class_token"] = arrays["class_token"]
        heads, depth = int(arrays["num_heads"]), int(arrays["depth"])
        aggregator = MaskedCrossAttentionAggregator(32, depth, heads, masking=masking)
        aggregator.load_state_dict(state, strict=True)
        return aggregator

    return load


@pytest.mark.parametrize(
    ("masking", "name"), [("ignore", "out_no_mask"), ("exclude", "out_masked_tokens_dropped")]
)
def test_results_of_the_released_code(
    parity: Load,
    recorded: Callable[[str], MaskedCrossAttentionAggregator],
    masking: str,
    name: str,
) -> None:
    arrays = parity("aggregation")
    result = recorded(masking)(arrays["tokens"], arrays["mask"])
    torch.testing.assert_close(result, arrays[name].squeeze(1), atol=1e-5, rtol=1e-5)


def test_without_a_mask_the_three_kinds_of_masking_agree_with_the_released_code(
    parity: Load, recorded: Callable[[str], MaskedCrossAttentionAggregator]
) -> None:
    arrays = parity("aggregation")
    for masking in MASKINGS:
        result = recorded(masking)(arrays["tokens"])
        expected = arrays["out_no_mask"].squeeze(1)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


# -- what the masks promise -----------------------------------------------------------------------


def test_excluded_tokens_have_weight_exactly_zero_and_rows_sum_to_one() -> None:
    tokens, mask = some_tokens()
    maps = build().attention_maps(tokens, mask)
    assert maps.shape == (3, 2, 2, 6)
    hidden = mask[:, None, None].expand_as(maps)
    assert (maps[hidden] == 0).all()
    assert (maps[~hidden] > 0).all()
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(3, 2, 2))


def test_scaled_tokens_keep_the_weight_of_a_logit_of_zero() -> None:
    tokens, mask = some_tokens()
    maps = build("scale").attention_maps(tokens, mask)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(3, 2, 2))
    for i in range(3):
        masked = maps[i][:, :, mask[i]]
        assert (masked > 0).all()
        torch.testing.assert_close(masked, masked[:, :, :1].expand_as(masked))


def test_ignore_does_not_read_the_mask() -> None:
    tokens, mask = some_tokens()
    aggregator = build("ignore")
    assert torch.equal(aggregator(tokens, mask), aggregator(tokens))
    maps = aggregator.attention_maps(tokens, mask)
    assert torch.equal(maps, aggregator.attention_maps(tokens))


@given(
    st.integers(0, 2**31),
    st.sampled_from(["mca", "average", "max"]),
    st.sampled_from([1e30, torch.nan, torch.inf, -torch.inf, None]),
)
def test_the_content_of_masked_tokens_never_reaches_the_aggregate(
    seed: int, kind: str, filler: float | None
) -> None:
    torch.manual_seed(seed)
    tokens, mask = some_tokens()
    content = torch.randn_like(tokens) if filler is None else torch.full_like(tokens, filler)
    other = torch.where(mask[..., None], content, tokens).requires_grad_()
    aggregator = {"mca": build(), "average": AverageAggregator(), "max": MaxAggregator()}[kind]

    result = aggregator(other, mask)
    assert torch.equal(result, aggregator(tokens, mask))
    if kind == "mca":
        assert torch.equal(
            aggregator.attention_maps(other, mask), aggregator.attention_maps(tokens, mask)
        )

    result.square().sum().backward()
    assert other.grad is not None
    assert (other.grad[mask] == 0).all()
    assert other.grad[~mask].isfinite().all()
    assert (other.grad[~mask] != 0).any()
    for parameter in aggregator.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("filler", [torch.nan, torch.inf])
def test_the_equation_alone_excludes_any_content(filler: float) -> None:
    q, k, v = torch.randn(2, 2, 1, 4), torch.randn(2, 2, 6, 4), torch.randn(2, 2, 6, 4)
    _, mask = some_tokens(2)
    hidden = mask[:, None, :, None]
    k2, v2 = k.masked_fill(hidden, filler), v.masked_fill(hidden, filler)
    expected = masked_cross_attention(q, k, v, mask)
    assert torch.equal(masked_cross_attention(q, k2, v2, mask), expected)
    weights = cross_attention_weights(q, k, mask)
    assert torch.equal(cross_attention_weights(q, k2, mask), weights)
    torch.testing.assert_close(weights @ v, expected)


@given(st.integers(0, 2**31), st.integers(0, 4))
def test_excluding_tokens_is_removing_them(seed: int, index: int) -> None:
    torch.manual_seed(seed)
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    if index in (1, 2):
        mask = torch.zeros_like(mask)
    result = aggregator(tokens, mask)
    for i in range(3):
        alone = aggregator(tokens[i : i + 1, ~mask[i]])
        torch.testing.assert_close(result[i : i + 1], alone, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**31), st.integers(0, 4))
def test_one_image_does_not_depend_on_its_batch(seed: int, index: int) -> None:
    torch.manual_seed(seed)
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    together = aggregator(tokens, mask)
    for i in range(3):
        alone = aggregator(tokens[i : i + 1], mask[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**31), st.integers(0, 4), st.permutations(range(6)))
def test_the_order_of_the_tokens_does_not_matter(seed: int, index: int, order: list[int]) -> None:
    torch.manual_seed(seed)
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    result = aggregator(tokens[:, order], mask[:, order])
    torch.testing.assert_close(result, aggregator(tokens, mask), rtol=1e-4, atol=1e-5)


def test_the_result_is_not_normalised() -> None:
    # The class token alone: with the last layers at 0 no block adds anything to it.
    aggregator = build()
    for block in aggregator.blocks:
        assert isinstance(block, AggregationBlock)
        for layer in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    result = aggregator(*some_tokens())
    assert torch.equal(result, aggregator.class_token.squeeze(1).expand(3, -1))


# -- gradients, types, devices, compilation, copies -----------------------------------------------


@pytest.mark.parametrize("masking", MASKINGS)
def test_gradcheck(masking: str) -> None:
    aggregator = build(masking, depth=1, dim=4).double()
    tokens, mask = some_tokens(2, 4, 4)
    inputs = tokens.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: aggregator(x, mask), inputs)
    assert torch.autograd.gradcheck(lambda x: aggregator.attention_maps(x, mask), inputs)
    names = [name for name, _ in aggregator.named_parameters()]

    def of_parameters(*values: Tensor) -> Tensor:
        state = dict(zip(names, values, strict=True))
        out: Tensor = torch.func.functional_call(aggregator, state, (inputs.detach(), mask))
        return out

    assert torch.autograd.gradcheck(of_parameters, tuple(aggregator.parameters()))


@pytest.mark.parametrize("pool", POOLS)
def test_gradcheck_of_the_pools(pool: type[nn.Module]) -> None:
    tokens, mask = some_tokens(2, 4, 3)
    inputs = tokens.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool()(x, mask), inputs)
    assert torch.autograd.gradcheck(lambda x: pool()(x), inputs)


def test_every_parameter_gets_a_gradient() -> None:
    aggregator = build()
    aggregator(*some_tokens()).square().sum().backward()
    assert all(p.grad is not None for p in aggregator.parameters())


@pytest.mark.parametrize("index", range(5))
def test_autocast_stays_close_and_float64_stays_float64(index: int) -> None:
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    expected = aggregator(tokens, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = aggregator(tokens, mask)
    torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.15)
    exact = aggregator.double()(tokens.double(), mask)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("index", range(5))
def test_half_precision_follows_the_input(index: int, dtype: torch.dtype) -> None:
    aggregator = all_aggregators()[index].to(dtype)
    tokens, mask = some_tokens()
    result = aggregator(tokens.to(dtype), mask)
    assert result.dtype == dtype
    assert result.isfinite().all()


def test_maps_of_half_precision_still_sum_to_one() -> None:
    tokens, mask = some_tokens(2, 600)
    maps = build().bfloat16().attention_maps(tokens.bfloat16(), mask)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 2, 2), rtol=0, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = build().attention_maps(tokens, mask)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 2, 2), rtol=0, atol=1e-5)


def test_the_sum_behind_a_half_precision_average_does_not_overflow() -> None:
    tokens = torch.full((1, 3000, 1), 20.0, dtype=torch.float16)
    tokens[:, ::2] = 100.0
    mask = torch.zeros(1, 3000, dtype=torch.bool)
    assert AverageAggregator()(tokens).item() == 60.0
    assert AverageAggregator()(tokens, mask).item() == 60.0


@pytest.mark.parametrize("index", range(5))
def test_devices(index: int, device: torch.device) -> None:
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    expected = aggregator(tokens, mask)
    result = aggregator.to(device)(tokens.to(device), mask.to(device))
    assert result.device.type == device.type
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("index", range(5))
def test_compiles_as_one_graph(index: int) -> None:
    aggregator = all_aggregators()[index]
    tokens, mask = some_tokens()
    assert_compiles(aggregator, tokens, mask, atol=1e-5)
    if index == 0:
        assert_compiles(aggregator, tokens, atol=1e-5)
        assert_compiles(aggregator.attention_maps, tokens, mask, atol=1e-5)


def test_compiles_with_the_default_backend() -> None:
    assert_compiles(build(depth=1), *some_tokens(), backend="inductor", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", range(5))
def test_state_dict_round_trip_and_copies(index: int) -> None:
    aggregator = all_aggregators()[index]
    inputs = some_tokens()

    def fresh() -> nn.Module:
        return MaskedCrossAttentionAggregator(8, 2, 2, masking=MASKINGS[index])

    if index < 3:
        assert_state_dict_round_trip(aggregator, fresh, *inputs)
    else:
        assert aggregator.state_dict() == {}
    assert_deepcopy_after_forward(aggregator, *inputs)
    assert_pickles(aggregator, *inputs)


def test_fresh_weights_are_small_and_normal() -> None:
    aggregator = MaskedCrossAttentionAggregator(96, num_heads=12)
    assert len(aggregator.blocks) == 2
    assert "masking='exclude'" in repr(aggregator)
    for name, value in aggregator.named_parameters():
        if "norm" in name:
            assert (value == float(name.endswith("weight"))).all()
        elif name.endswith("bias"):
            assert (value == 0).all()
        else:
            assert abs(value.std().item() - 0.02) < 0.005, name


# -- degenerate and bad input ---------------------------------------------------------------------


def test_one_image_with_one_token() -> None:
    tokens = torch.randn(1, 1, 8)
    assert (build().attention_maps(tokens) == 1).all()
    for pool in POOLS:
        assert torch.equal(pool()(tokens, torch.tensor([[False]])), tokens[:, 0])


def test_a_mask_without_masked_tokens_changes_nothing() -> None:
    tokens, mask = some_tokens()
    for aggregator in all_aggregators():
        result = aggregator(tokens, torch.zeros_like(mask))
        torch.testing.assert_close(result, aggregator(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [0, 3, 4])
def test_a_row_with_every_token_masked_is_refused(index: int) -> None:
    tokens, mask = some_tokens()
    mask[1:] = True
    message = r"mask: expected an unmasked token in every row, got rows \[1, 2\] all masked"
    aggregator = all_aggregators()[index]
    with pytest.raises(ValueError, match=message):
        aggregator(tokens, mask)
    if index == 0:
        with pytest.raises(ValueError, match=message):
            aggregator.attention_maps(tokens, mask)


@pytest.mark.parametrize("masking", ["scale", "ignore"])
def test_a_row_with_every_token_masked_is_defined_where_none_is_excluded(masking: str) -> None:
    tokens, mask = some_tokens()
    maps = build(masking).attention_maps(tokens, torch.ones_like(mask))
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(3, 2, 2))
    if masking == "scale":
        torch.testing.assert_close(maps, torch.full_like(maps, 1 / 6))


@pytest.mark.parametrize(
    ("tokens", "mask", "error", "message"),
    [
        (torch.rand(6, 8), None, ValueError, r"tokens: expected shape \(B, N, D\).*got \(6, 8\)"),
        ([[0.5]], None, TypeError, r"tokens: expected a tensor \(B, N, D\), got list"),
        (torch.ones(2, 6, 8).long(), None, TypeError, r"tokens: expected a floating-point tensor"),
        (torch.rand(2, 0, 8), None, ValueError, r"tokens: expected at least one token, got \(2, 0"),
        (
            torch.rand(2, 6, 8),
            torch.zeros(2, 5).bool(),
            ValueError,
            r"mask: expected shape \(B, N\) with B=2, N=6, got \(2, 5\)",
        ),
        (torch.rand(2, 6, 8), torch.zeros(2, 2, 3).bool(), ValueError, r"mask: expected shape"),
        (torch.rand(2, 6, 8), torch.zeros(2, 6), TypeError, r"mask: expected a boolean tensor"),
    ],
)
@pytest.mark.parametrize("index", range(5))
def test_bad_arguments_are_refused(
    index: int, tokens: Tensor, mask: Tensor | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        all_aggregators()[index](tokens, mask)


def test_tokens_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tokens: expected shape .* D=8, got \(2, 6, 9\)"):
        build()(torch.rand(2, 6, 9))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dim": 0}, ValueError, r"dim: expected a positive integer, got 0"),
        ({"dim": 8.0}, TypeError, r"dim: expected a positive integer, got 8.0"),
        ({"depth": 0}, ValueError, r"depth: expected a positive integer, got 0"),
        ({"num_heads": 0}, ValueError, r"num_heads: expected a positive integer, got 0"),
        ({"num_heads": 3}, ValueError, r"num_heads: expected a divisor of dim=8, got 3"),
        ({"mlp_ratio": 0}, ValueError, r"mlp_ratio: expected a number of at least 1 / dim"),
        ({"mlp_ratio": -1.0}, ValueError, r"mlp_ratio: .* got -1.0"),
        ({"mlp_ratio": "4"}, TypeError, r"mlp_ratio: expected a number, got str"),
        (
            {"masking": "exlude"},
            ValueError,
            r"masking: expected one of 'exclude', 'scale', 'ignore', got 'exlude' \(did you mean",
        ),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MaskedCrossAttentionAggregator(**{"dim": 8, "num_heads": 2, **options})  # type: ignore[arg-type]


def test_the_default_number_of_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"num_heads: expected a divisor of dim=100, got 12"):
        MaskedCrossAttentionAggregator(100)


def test_bad_heads_are_refused_by_the_equation() -> None:
    q, k = torch.rand(2, 3, 1, 4), torch.rand(2, 3, 6, 4)
    with pytest.raises(ValueError, match=r"q: expected shape \(B, heads, 1, d\)"):
        masked_cross_attention(k, k, k)
    with pytest.raises(ValueError, match=r"k: expected shape .* heads=3, d=4"):
        masked_cross_attention(q, k[:, :2], k)
    with pytest.raises(ValueError, match=r"v: expected shape .* N=6"):
        masked_cross_attention(q, k, k[:, :, :5])
    with pytest.raises(ValueError, match=r"mask: expected shape \(B, N\) with B=2, N=6"):
        cross_attention_weights(q, k, torch.zeros(2, 5).bool())
    with pytest.raises(ValueError, match=r"masking: expected one of"):
        cross_attention_weights(q, k, None, "none")


def test_the_layers_read_any_width_and_mask() -> None:
    tokens, mask = some_tokens(dim=6)
    layer = CrossAttention(6, 3)
    assert layer(tokens[:, :1], tokens, mask).shape == (3, 1, 6)
    assert layer.weights(tokens[:, :1], tokens, mask).shape == (3, 3, 6)
