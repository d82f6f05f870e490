"""Attention entropy: against plain loops, its limits, and over images one batch at a time."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models.vision_transformer import Attention
from torch import Tensor

from fsr import SingleStageSegmenter
from fsr.errors import ShapeError
from fsr.visualize import attention_entropy, encoder_attention, encoder_entropy
from tests.backbone.test_backbone import NAME, SMALL, build, build_form, images_for
from tests.helpers import assert_compiles
from tests.visualize.test_encoder_attention import Stop, hooks_of, randomised


def loops(rows: Tensor, normalize: bool = False) -> float:
    """Mean entropy of rows (Q, L), written out."""
    values = rows.double().numpy()
    total = 0.0
    for row in values:
        for weight in row:
            if weight > 0:
                total -= weight * math.log(weight)
    return total / len(values) / (math.log(values.shape[1]) if normalize else 1.0)


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 2**16), st.booleans())
def test_entropy_equals_plain_loops(queries: int, keys: int, seed: int, normalize: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, 3, queries, keys, generator=generator, dtype=torch.float64)
    attention = logits.softmax(dim=3)
    found = attention_entropy(attention, normalize=normalize)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float64
    for i, j in np.ndindex(2, 3):
        assert found[i, j].item() == pytest.approx(loops(attention[i, j], normalize), abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 49, 785])
def test_uniform_attention_gives_the_logarithm_and_one_hot_gives_zero(length: int) -> None:
    uniform = torch.full((1, 4, length), 1 / length)
    assert attention_entropy(uniform).item() == pytest.approx(math.log(length), abs=1e-5)
    expected = 1.0 if length > 1 else 0.0
    assert attention_entropy(uniform, normalize=True).item() == pytest.approx(expected, abs=1e-6)
    certain = torch.eye(length).unsqueeze(0)
    for normalize in (False, True):
        assert attention_entropy(certain, normalize=normalize).item() == 0.0


def test_queries_are_chosen_explicitly() -> None:
    attention = torch.randn(2, 2, 7, 7).softmax(3)
    for queries, rows in (("all", slice(None)), ("patches", slice(2, None)), ("prefix", slice(2))):
        found = attention_entropy(attention, prefix=2, queries=queries)
        assert found[1, 0].item() == pytest.approx(loops(attention[1, 0, rows]), rel=1e-5)
    plain = attention_entropy(attention)
    assert torch.equal(plain, attention_entropy(attention, queries="all"))


def test_masked_out_tokens_add_nothing() -> None:
    attention = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert attention_entropy(attention).item() == pytest.approx(math.log(2))


def test_the_aggregated_tokens_entropy() -> None:
    model = SingleStageSegmenter(2, NAME, image_size=32, projection_dim=8, backbone_options=SMALL)
    maps = model.attention_maps(torch.randn(2, 3, 32, 48)).flatten(3)
    found = attention_entropy(maps.unsqueeze(3))
    assert found.shape == (2, 2, 2)
    assert found[1, 0, 1].item() == pytest.approx(loops(maps[1, 0, 1:2]), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_half_precision_weights_are_summed_in_float32(
    dtype: torch.dtype, scale: float, device: torch.device
) -> None:
    attention = (scale * torch.randn(2, 3, 9, 785, device=device)).softmax(3)
    exact = attention_entropy(attention)
    found = attention_entropy(attention.to(dtype))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=1e-2, atol=2e-3)


def test_entropy_is_one_graph() -> None:
    attention = torch.randn(2, 2, 5, 5).softmax(3)
    assert_compiles(attention_entropy, attention, prefix=1, normalize=True)


# -- over a set of images -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["class token", "no prefix token", "parallel blocks"])
@pytest.mark.parametrize("normalize", [False, True])
def test_entropy_of_a_model_is_that_of_its_weights(form: str, normalize: bool) -> None:
    backbone = randomised(build_form(form))
    images = images_for(backbone, batch=3)
    prefix = backbone.model.num_prefix_tokens
    weights = encoder_attention(backbone, images, blocks=range(backbone.depth)).weights
    for queries in ("patches", "all", "prefix")[: 3 if prefix else 2]:
        found = encoder_entropy(backbone, images, queries=queries, normalize=normalize)
        expected = attention_entropy(weights, prefix=prefix, queries=queries, normalize=normalize)
        torch.testing.assert_close(found.per_image, expected.double(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.mean, found.per_image.mean(0))
        assert found.mean.shape == (backbone.depth, weights.shape[2])


def test_batches_change_no_result() -> None:
    backbone = randomised(build())
    images = images_for(backbone, batch=5)
    whole = encoder_entropy(backbone, images)
    for sizes in ([5], [2, 2, 1], [1] * 5):
        found = encoder_entropy(backbone, iter(images.split(sizes)))
        torch.testing.assert_close(found.per_image, whole.per_image, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.mean, whole.mean, rtol=1e-5, atol=1e-6)


def test_batches_may_have_any_size() -> None:
    sizes = [(2, 3, 32, 32), (1, 3, 50, 70), (3, 3, 16, 16)]
    found = encoder_entropy(build(), [torch.randn(size) for size in sizes], normalize=True)
    assert found.per_image.shape == (6, 3, 2)
    assert bool(((found.per_image >= 0) & (found.per_image <= 1 + 1e-6)).all())


def test_images_are_taken_one_batch_at_a_time_from_a_generator_that_may_use_the_model() -> None:
    backbone = build().train()
    hooks = hooks_of(backbone)
    given_out: list[weakref.ref[Tensor]] = []
    alive = []

    def batches() -> Iterator[Tensor]:
        for _ in range(4):
            gc.collect()
            alive.append(sum(ref() is not None for ref in given_out))
            assert backbone.training
            assert hooks_of(backbone) == hooks
            batch = torch.randn(2, 3, 32, 32)
            backbone(batch)
            given_out.append(weakref.ref(batch))
            yield batch
            del batch

    assert encoder_entropy(backbone, batches()).per_image.shape == (8, 3, 2)
    # The last batch is still the loop variable of the caller when the next is asked for.
    assert max(alive) <= 1


def test_a_failing_generator_or_forward_leaves_nothing_behind() -> None:
    backbone = build().train()
    hooks = hooks_of(backbone)

    def batches() -> Iterator[Tensor]:
        yield torch.randn(1, 3, 32, 32)
        raise Stop

    with pytest.raises(Stop):
        encoder_entropy(backbone, batches())
    with pytest.raises(ValueError, match=r"images: expected finite values"):
        encoder_entropy(backbone, torch.full((1, 3, 32, 32), math.nan))
    assert backbone.training
    assert hooks_of(backbone) == hooks


# -- bad input ------------------------------------------------------------------------------------


def test_bad_attention_is_named() -> None:
    good = torch.full((3, 4), 0.25)
    with pytest.raises(TypeError, match=r"attention: expected a tensor \(\.\.\., Q, L\), got list"):
        attention_entropy([[1.0]])
    with pytest.raises(ShapeError, match=r"attention: expected shape \(\.\.\., Q, L\), got \(4,\)"):
        attention_entropy(good[0])
    with pytest.raises(TypeError, match="attention: expected a floating-point tensor"):
        attention_entropy(good.long())
    for bad in (2 * good, -good, good - 0.1, torch.full((3, 4), math.nan)):
        with pytest.raises(
            ValueError, match=r"weights of at least 0 whose rows sum to 1, got a le"
        ):
            attention_entropy(bad)
    negative = torch.tensor([[1.5, -0.5]])
    with pytest.raises(ValueError, match=r"least weight of -0\.5 and sums from 1 to 1"):
        attention_entropy(negative)
    with pytest.raises(ShapeError, match=r"expected queries and keys, got \(3, 4\) with prefix=3"):
        attention_entropy(good, prefix=3)
    with pytest.raises(ShapeError, match=r"expected queries and keys, got \(3, 0\)"):
        attention_entropy(good[:, :0])
    with pytest.raises(TypeError, match=r"prefix: expected an integer of at least 0, got 1\.0"):
        attention_entropy(good, prefix=1.0)
    with pytest.raises(ValueError, match="prefix: expected an integer of at least 0, got -1"):
        attention_entropy(good, prefix=-1)
    with pytest.raises(ValueError, match="queries: expected one of 'all', 'patches', 'prefix'"):
        attention_entropy(good, queries="class")
    with pytest.raises(ValueError, match="where there is no prefix token, got 'prefix'"):
        attention_entropy(good, queries="prefix")


def test_bad_models_and_images_are_named() -> None:
    backbone = build()
    with pytest.raises(TypeError, match=r"model: expected a SingleStageSegmenter .*, got Linear"):
        encoder_entropy(torch.nn.Linear(1, 1), torch.zeros(1, 3, 32, 32))
    with pytest.raises(TypeError, match="images: expected a tensor or batches of images, got int"):
        encoder_entropy(backbone, 3)
    with pytest.raises(
        TypeError, match=r"images: expected a tensor \(B, channels, H, W\), got str"
    ):
        encoder_entropy(backbone, ["a.jpg"])
    nothings: list[Any] = [[], torch.zeros(0, 3, 32, 32)]
    for nothing in nothings:
        with pytest.raises(ValueError, match="images: expected at least one image, got none"):
            encoder_entropy(backbone, nothing)
    with pytest.raises(ShapeError, match=r"images: expected shape .* got \(3, 32, 32\)"):
        encoder_entropy(backbone, [torch.zeros(3, 32, 32)])
    with pytest.raises(ValueError, match="where there is no prefix token, got 'prefix'"):
        encoder_entropy(build_form("no prefix token"), [], queries="prefix")
    backbone.model.blocks[1].attn = Attention(16, num_heads=4)
    with pytest.raises(ValueError, match=r"equally many heads in each, got \[2, 4, 2\]"):
        encoder_entropy(backbone, torch.zeros(1, 3, 32, 32))
