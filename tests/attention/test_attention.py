"""Maps read from attention: loops, recorded values, rows, roots, precision, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.attention import class_attention_maps, fuse_maps, patch_affinity, refine_maps
from fsr.errors import ShapeError
from tests.helpers import assert_compiles

Load = Callable[[str], dict[str, Tensor]]


def random_attention(seed: int = 0, classes: int = 2, patches: int = 6) -> Tensor:
    """Probabilities of three blocks, two images and two heads."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 2, classes + patches, classes + patches)
    return torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_class_maps_are_those_of_the_loops(layers: int, device: torch.device) -> None:
    attention = random_attention()
    maps = class_attention_maps(attention.to(device), 2, (3, 2), layers).cpu()
    assert maps.shape == (2, 2, 3, 2)
    for b, c, y, x in np.ndindex(2, 2, 3, 2):
        looks = [attention[n, b, h, c, 2 + 2 * y + x] for n in range(3 - layers, 3) for h in (0, 1)]
        assert maps[b, c, y, x].item() == pytest.approx(float(sum(looks)) / len(looks), rel=1e-12)


@pytest.mark.parametrize("prefix", [0, 2, 7])
def test_affinity_is_that_of_the_loops(prefix: int, device: torch.device) -> None:
    attention = random_attention()
    affinity = patch_affinity(attention.to(device), prefix).cpu()
    assert affinity.shape == (2, 8 - prefix, 8 - prefix)
    for b, i, j in np.ndindex(*affinity.shape):
        total = sum(
            (
                attention[n, b, 0, prefix + i, prefix + j]
                + attention[n, b, 1, prefix + i, prefix + j]
            )
            / 2
            for n in range(3)
        )
        assert affinity[b, i, j].item() == pytest.approx(float(total), rel=1e-12)


def test_fused_and_refined_maps_are_those_of_the_loops() -> None:
    looks = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    scores = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    affinity = torch.rand(2, 4, 4, dtype=torch.float64)
    fused = fuse_maps(looks, scores)
    refined = refine_maps(fused, affinity)
    for b, c, y, x in np.ndindex(*fused.shape):
        expected = (looks[b, c, y, x].item() * max(scores[b, c, y, x].item(), 0)) ** 0.5
        assert fused[b, c, y, x].item() == pytest.approx(expected)
        row = affinity[b, 2 * y + x]
        spread = sum(row[j].item() * fused[b, c, j // 2, j % 2].item() for j in range(4))
        assert refined[b, c, y, x].item() == pytest.approx(spread)


def close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_recorded_maps_are_reproduced(parity: Load) -> None:
    recorded = parity("systems/mctformer")
    attention = recorded["in_attention"]
    patches = recorded["in_patch_tokens"].transpose(1, 2).unflatten(2, (5, 5))
    scores = F.conv2d(patches, recorded["in_head_weight"], recorded["in_head_bias"], padding=1)
    layers = int(recorded["arg_layers"])
    fused = fuse_maps(class_attention_maps(attention, 5, (5, 5), layers), scores)
    close(fused, recorded["out_fused_maps"])
    affinity = patch_affinity(attention, 5)
    close(affinity, recorded["out_patch_affinity"])
    close(refine_maps(fused, affinity), recorded["out_refined_maps"])
    # Blocks may come one by one, as an encoder gives them.
    assert torch.equal(patch_affinity(list(attention), 5), affinity)


@given(st.integers(0, 1000), st.integers(1, 3))
def test_what_a_token_gives_adds_up(seed: int, layers: int) -> None:
    attention = random_attention(seed)
    maps = class_attention_maps(attention, 2, (2, 3), layers)
    given_away = attention[-layers:, :, :, :2, :2].sum(-1).mean(dim=(0, 2))
    torch.testing.assert_close(maps.sum(dim=(2, 3)), 1 - given_away)
    affinity = patch_affinity(attention, 2)
    to_prefix = attention[..., 2:, :2].sum(-1).mean(2).sum(0)
    torch.testing.assert_close(affinity.sum(-1), 3 - to_prefix)
    # With the classes of an image in another order the maps are in that order.
    order = [1, 0, *range(2, 8)]
    turned = attention[..., order, :][..., order]
    assert torch.equal(class_attention_maps(turned, 2, (2, 3), layers), maps.flip(1))
    assert torch.equal(patch_affinity(turned, 2), affinity)


@given(st.integers(0, 1000))
def test_refining_moves_with_the_patches_and_the_identity_does_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    affinity = torch.rand(2, 6, 6, generator=generator, dtype=torch.float64)
    order = torch.randperm(6, generator=generator)
    moved = maps.flatten(2)[..., order].view_as(maps)
    found = refine_maps(moved, affinity[:, order][..., order])
    torch.testing.assert_close(found.flatten(2), refine_maps(maps, affinity).flatten(2)[..., order])
    same = torch.eye(6, dtype=torch.float64).expand(2, 6, 6)
    assert torch.equal(refine_maps(maps, same), maps)


def test_a_single_patch_and_uniform_attention() -> None:
    one = torch.full((2, 1, 3, 3, 3), 1 / 3)
    torch.testing.assert_close(
        class_attention_maps(one, 2, (1, 1), 2), torch.full((1, 2, 1, 1), 1 / 3)
    )
    torch.testing.assert_close(patch_affinity(one, 2), torch.full((1, 1, 1), 2 / 3))


def test_gradients_are_right_and_finite_where_a_map_is_zero() -> None:
    attention = random_attention().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: class_attention_maps(a, 2, (2, 3), 2), attention)
    assert torch.autograd.gradcheck(lambda a: patch_affinity(a, 2), attention)
    looks = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fuse_maps, (looks, scores))
    affinity = torch.rand(1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(refine_maps, (looks, affinity))
    dead = torch.zeros(1, 2, 2, 3, requires_grad=True)
    for pair in ((dead, scores.detach().float()), (looks.detach().float(), dead)):
        fused = fuse_maps(*pair)
        assert fused.abs().max() == 0
        (gradient,) = torch.autograd.grad(fused.sum(), dead)
        assert gradient.abs().max() == 0


def test_precision() -> None:
    attention = random_attention().float()
    half = attention.bfloat16()
    maps = class_attention_maps(attention, 2, (2, 3), 2)
    affinity = patch_affinity(attention, 2)
    assert torch.equal(patch_affinity(half, 2), patch_affinity(half.float(), 2))
    assert torch.equal(
        class_attention_maps(half, 2, (2, 3), 2), class_attention_maps(half.float(), 2, (2, 3), 2)
    )
    low = maps.bfloat16()
    assert torch.equal(fuse_maps(low, low), fuse_maps(low.float(), low.float()))
    expected = refine_maps(maps, affinity)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(refine_maps(maps, affinity), expected)
    assert refine_maps(low, affinity.bfloat16()).dtype == torch.float32
    assert_compiles(class_attention_maps, attention, 2, (2, 3), 2)
    assert_compiles(patch_affinity, attention, 2)
    assert_compiles(fuse_maps, maps, maps)
    assert_compiles(refine_maps, maps, affinity)


BLOCKS = torch.zeros(3, 1, 2, 8, 8)
MAPS = torch.zeros(1, 2, 2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: class_attention_maps(BLOCKS[0], 2, (2, 3), 1),
            ShapeError,
            r"attention: expected shape \(blocks, B, heads, T, T\), got \(1, 2, 8, 8\)",
        ),
        (
            lambda: class_attention_maps(BLOCKS, 3, (2, 3), 1),
            ShapeError,
            "attention: expected 3 class tokens and 6 patches, got 8 tokens",
        ),
        (
            lambda: class_attention_maps(BLOCKS, 2, (2, 3), 4),
            ValueError,
            "layers: expected at most the 3 blocks given, got 4",
        ),
        (lambda: class_attention_maps(BLOCKS, 2, (2, 3), 0), ValueError, "layers: .*positive"),
        (lambda: class_attention_maps(BLOCKS, 0, (2, 4), 1), ValueError, "num_classes: .*positive"),
        (lambda: class_attention_maps(BLOCKS, 2, 6, 1), TypeError, "grid: expected two integers"),  # type: ignore[arg-type]
        (lambda: patch_affinity(BLOCKS, 8), ShapeError, "attention: .*after 8 tokens, got 8"),
        (lambda: patch_affinity(BLOCKS, -1), ValueError, "num_prefix: .*at least 0, got -1"),
        (lambda: patch_affinity(BLOCKS, 1.0), TypeError, "num_prefix: .*an integer"),  # type: ignore[arg-type]
        (lambda: patch_affinity(BLOCKS, True), TypeError, "num_prefix: .*got True"),
        (
            lambda: patch_affinity(BLOCKS[:0], 2),
            ShapeError,
            "attention: expected at least one block",
        ),
        (lambda: patch_affinity([], 2), ShapeError, "attention: expected at least one block"),
        (lambda: patch_affinity(BLOCKS[:, :, :0], 2), ShapeError, "attention: .*one head"),
        (lambda: patch_affinity(BLOCKS[..., :7], 2), ShapeError, r"attention\[0\]: .*T=8"),
        (
            lambda: patch_affinity([BLOCKS[0], BLOCKS[1, ..., :7, :7]], 2),
            ShapeError,
            r"attention\[1\]: .*T=8",
        ),
        (lambda: patch_affinity(BLOCKS.int(), 2), TypeError, r"attention\[0\]: .*floating"),
        (lambda: fuse_maps(MAPS[0], MAPS), ShapeError, r"class_maps: .*\(B, C, H, W\)"),
        (lambda: fuse_maps(MAPS, MAPS[..., :2]), ShapeError, "patch_maps: .*W=3"),
        (lambda: fuse_maps(MAPS.int(), MAPS), TypeError, "class_maps: .*floating"),
        (lambda: fuse_maps(MAPS, MAPS.int()), TypeError, "patch_maps: .*floating"),
        (lambda: refine_maps(MAPS[0], BLOCKS[0, 0]), ShapeError, r"maps: .*\(B, C, H, W\)"),
        (lambda: refine_maps(MAPS, torch.zeros(1, 6, 5)), ShapeError, "affinity: .*N=6"),
        (lambda: refine_maps(MAPS.int(), torch.zeros(1, 6, 6)), TypeError, "maps: .*floating"),
        (lambda: refine_maps(MAPS, torch.zeros(1, 6, 6).int()), TypeError, "affinity: .*floating"),
    ],
)
def test_bad_input_is_refused_by_name(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
