"""Attention of the encoder's blocks: recomputed weights equal timm's own, and nothing stays."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import vision_transformer
from torch import Tensor, nn

from fsr import EMATeacher, SingleStageSegmenter
from fsr.backbone import BackboneRequest, FeatureBackbone, ViTBackbone
from fsr.errors import ShapeError
from fsr.visualize import EncoderAttention, encoder_attention, recompute_attention
from fsr.visualize._recompute import Attention, ParallelScalingBlock
from fsr.visualize._visit import visit_attention
from tests.backbone.classes import FORMS as CLASS_FORMS
from tests.backbone.classes import build as build_class
from tests.backbone.classes import images_for as images_for_class
from tests.backbone.test_backbone import FORMS, NAME, SMALL, build, build_form, images_for

# Every kind of block and of prefix tokens, beside the forms that the adapter promises.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **FORMS,
    "scaling blocks": (NAME, {"block_fn": ParallelScalingBlock}),
    "scaling blocks, qk norm, no bias": ("vit_base_patch16_xp_224", {}),
    "post-norm": ("vit_base_patch16_rpn_224", {}),
    "qk norm": (NAME, {"qk_norm": True, "qkv_bias": False}),
    "layer scale": (NAME, {"init_values": 0.1}),
    "dropout": (NAME, {"attn_drop_rate": 0.5, "drop_path_rate": 0.5}),
}
HEADS = 2


@pytest.fixture(params=KINDS)
def backbone(request: pytest.FixtureRequest) -> ViTBackbone:
    name, options = KINDS[request.param]
    return randomised(build(name, 28 if "14" in request.param else 32, **options))


def randomised(backbone: ViTBackbone) -> ViTBackbone:
    """Draw all weights, so that no bias, norm or layer scale is without effect."""
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.5)
    return backbone


def timms_own(backbone: ViTBackbone, images: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """The softmax of timm's unfused path in every block, parallel ones joined along the heads."""
    twin = copy.deepcopy(backbone).eval()
    found: list[Tensor] = []
    for module in twin.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]
            module.attn_drop.register_forward_hook(lambda _, inputs, __: found.append(inputs[0]))
    with torch.no_grad():
        twin(images, mask)
    each = len(found) // backbone.depth
    return [torch.cat(found[i : i + each], dim=1) for i in range(0, len(found), each)]


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


# -- weights --------------------------------------------------------------------------------------


def test_weights_are_those_of_timms_own_unfused_attention(backbone: ViTBackbone) -> None:
    images = images_for(backbone)
    expected = timms_own(backbone, images)
    attention = encoder_attention(backbone, images, blocks=range(backbone.depth))
    assert attention.grid == (2, 3)
    assert attention.prefix == backbone.model.num_prefix_tokens
    torch.testing.assert_close(attention.weights, torch.stack(expected, dim=1))


def test_rows_sum_to_one(backbone: ViTBackbone) -> None:
    weights = encoder_attention(backbone, images_for(backbone)).weights
    torch.testing.assert_close(weights.sum(4), torch.ones(weights.shape[:4]))


def test_weights_times_values_are_the_output_of_the_fused_attention() -> None:
    module = Attention(12, num_heads=3, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm)
    tokens = torch.randn(2, 7, 12)
    module.proj = nn.Identity()
    value = module.qkv(tokens)[:, :, 24:].reshape(2, 7, 3, 4).transpose(1, 2)
    expected = (recompute_attention(module, tokens) @ value).transpose(1, 2).flatten(2)
    assert module.fused_attn
    torch.testing.assert_close(module.eval()(tokens), expected)


def test_weights_equal_plain_loops() -> None:
    module = Attention(4, num_heads=2, qkv_bias=True).double()
    tokens = torch.randn(1, 3, 4, dtype=torch.float64)
    projected = module.qkv(tokens)[0].detach().numpy()
    for head in range(2):
        q = projected[:, 2 * head : 2 * head + 2]
        k = projected[:, 4 + 2 * head : 6 + 2 * head]
        for i in range(3):
            scores = np.exp([q[i] @ k[j] / np.sqrt(2) for j in range(3)])
            found = recompute_attention(module, tokens)[0, head, i].detach().numpy()
            np.testing.assert_allclose(found, scores / scores.sum(), rtol=1e-12)


@pytest.mark.parametrize("form", CLASS_FORMS)
def test_every_class_of_encoders_is_seen_at_any_size(form: str) -> None:
    encoder, images = build_class(form), images_for_class(form, (2, 4))
    attention = encoder_attention(encoder, images, blocks=(0, 1), queries="patches")
    with torch.no_grad():
        expected = encoder.read(images, request=BackboneRequest(attention=(0, 1))).attention
    prefix = len(encoder.prefix_names)
    assert (attention.grid, attention.prefix) == ((2, 4), prefix)
    torch.testing.assert_close(attention.weights, torch.stack(expected, dim=1)[:, :, :, prefix:])


def test_networks_of_feature_maps_have_no_attention() -> None:
    encoder = FeatureBackbone("resnet18")
    with pytest.raises(ValueError, match="model: resnet18 gives feature maps and has no attention"):
        encoder_attention(encoder, torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("queries", ["all", "patches", "prefix"])
def test_rows_of_chosen_queries(queries: str) -> None:
    backbone = randomised(build_form("registers, patch 14, layer scale"))
    images = images_for(backbone)
    prefix = backbone.model.num_prefix_tokens
    rows = {"all": slice(None), "patches": slice(prefix, None), "prefix": slice(0, prefix)}[queries]
    every = encoder_attention(backbone, images, blocks=(0, -1)).weights
    some = encoder_attention(backbone, images, blocks=(0, -1), queries=queries).weights
    torch.testing.assert_close(some, every[:, :, :, rows])
    assert prefix == 5


def test_blocks_come_in_the_order_asked_for_also_twice() -> None:
    backbone = randomised(build())
    images = images_for(backbone)
    every = encoder_attention(backbone, images, blocks=range(3)).weights
    some = encoder_attention(backbone, images, blocks=[2, 0, -1]).weights
    assert torch.equal(some, every[:, [2, 0, 2]])
    assert torch.equal(encoder_attention(backbone, images).weights, every[:, -1:])


def test_parallel_attentions_stand_beside_each_other_as_heads() -> None:
    backbone = build_form("parallel blocks")
    assert encoder_attention(backbone, images_for(backbone)).weights.shape[2] == 2 * HEADS


def test_masked_patches_are_read_as_the_mask_token() -> None:
    backbone = randomised(build())
    images = images_for(backbone)
    mask = torch.tensor([[[True, False, False], [False, False, True]]] * 2)
    found = encoder_attention(backbone, images, mask, blocks=range(3)).weights
    torch.testing.assert_close(found, torch.stack(timms_own(backbone, images, mask), dim=1))
    assert not torch.allclose(found, encoder_attention(backbone, images, blocks=range(3)).weights)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((32, 32), (2, 2)), ((64, 16), (4, 1)), ((50, 23), (3, 1)), ((17, 90), (1, 6))],
)
def test_images_may_have_any_size(size: tuple[int, int], grid: tuple[int, int]) -> None:
    attention = encoder_attention(build(), torch.randn(1, 3, *size), queries="prefix")
    assert attention.grid == grid
    assert attention.weights.shape == (1, 1, HEADS, 1, 1 + grid[0] * grid[1])
    assert attention.maps().shape == (1, 1, HEADS, *grid)


def test_maps_are_one_querys_weights_on_the_patches_row_by_row() -> None:
    weights = torch.rand(2, 1, 3, 4, 2 + 6)
    attention = EncoderAttention(weights, (2, 3), 2)
    for query in (0, 3, -1):
        maps = attention.maps(query)
        assert maps.shape == (2, 1, 3, 2, 3)
        assert maps[1, 0, 2, 1, 0] == weights[1, 0, 2, query, 2 + 3]


def test_wrapped_networks_and_whole_segmenters_are_unwrapped() -> None:
    model = SingleStageSegmenter(2, NAME, image_size=32, projection_dim=8, backbone_options=SMALL)
    images = torch.randn(1, 3, 32, 32)
    expected = encoder_attention(model.backbone, images).weights
    teacher = EMATeacher(model)
    for network in (model, torch.compile(model), teacher.module):
        assert torch.equal(encoder_attention(network, images).weights, expected)


def test_networks_compiled_in_place_are_seen_too() -> None:
    backbone = randomised(build()).eval()
    images = images_for(backbone)
    expected = encoder_attention(backbone, images, blocks=(0, 1)).weights
    torch._dynamo.reset()
    backbone.compile(backend="eager")
    backbone.model.blocks[1].compile(backend="eager")
    with torch.no_grad():
        backbone(images)
    assert torch.equal(encoder_attention(backbone, images, blocks=(0, 1)).weights, expected)


# -- precision and device -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["class token", "scaling blocks, qk norm, no bias"])
def test_half_precision_weights_come_in_float32_and_sum_to_one(
    kind: str, dtype: torch.dtype, device: torch.device
) -> None:
    name, options = KINDS[kind]
    backbone = build(name, **options).to(device)
    images = images_for(backbone).to(device)
    expected = encoder_attention(backbone, images).weights
    found = encoder_attention(backbone.to(dtype), images.to(dtype)).weights
    assert found.dtype == torch.float32
    assert found.device.type == device.type
    torch.testing.assert_close(found.sum(4), torch.ones_like(found.sum(4)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.02)


def test_autocast_and_double_precision(device: torch.device) -> None:
    backbone = build().to(device)
    images = images_for(backbone).to(device)
    expected = encoder_attention(backbone, images).weights
    with torch.autocast(device.type, torch.bfloat16):
        mixed = encoder_attention(backbone, images).weights
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.sum(4), torch.ones_like(mixed.sum(4)))
    torch.testing.assert_close(mixed, expected, rtol=0.1, atol=0.02)
    exact = encoder_attention(backbone.double(), images.double()).weights
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-4, atol=1e-5)


# -- what it leaves behind ------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_nothing_stays_behind(backbone: ViTBackbone) -> None:
    backbone.train()
    backbone.model.blocks[0].eval()
    modes = [module.training for module in backbone.modules()]
    hooks = hooks_of(backbone)
    fused = [m.fused_attn for m in backbone.modules() if hasattr(m, "fused_attn")]
    encoder_attention(backbone, images_for(backbone), blocks=(0, 1))

    def stop(block: int, weights: Tensor) -> None:
        raise Stop

    with pytest.raises(Stop):
        visit_attention(
            backbone, images_for(backbone), stop, blocks=range(backbone.depth), rows=slice(None)
        )
    assert [module.training for module in backbone.modules()] == modes
    assert hooks_of(backbone) == hooks
    assert [m.fused_attn for m in backbone.modules() if hasattr(m, "fused_attn")] == fused


def test_a_block_without_attention_is_refused() -> None:
    backbone = build()
    backbone.model.blocks[2].attn = nn.Identity()
    with pytest.raises(ValueError, match="got block 2, Block with none"):
        encoder_attention(backbone, images_for(backbone), blocks=(0, 2))


def test_results_hold_no_graph_and_gradients_stay_possible() -> None:
    backbone = build()
    images = images_for(backbone).requires_grad_()
    assert not encoder_attention(backbone, images).weights.requires_grad
    backbone(images).tokens.sum().backward()
    assert images.grad is not None


def test_the_forward_keeps_its_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: Any, **options: Any) -> Tensor:
        calls.append(1)
        return fused(*args, **options)

    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        counted,
    )
    backbone = build()
    encoder_attention(backbone, images_for(backbone), blocks=range(3))
    assert len(calls) == 3


def test_one_blocks_weights_are_alive_at_a_time() -> None:
    backbone = build()
    seen: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def receive(block: int, weights: Tensor) -> None:
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(weights))

    visit_attention(backbone, images_for(backbone), receive, blocks=range(3), rows=slice(None))
    assert alive == [0, 0, 0]


# -- bad input ------------------------------------------------------------------------------------


class Masking(vision_transformer.Block):
    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        length = x.shape[1]
        mask = torch.zeros(length, length)
        return x + self.attn(self.norm1(x), attn_mask=mask)


class OtherAttention(Attention):  # type: ignore[misc]
    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        return x


def test_blocks_with_a_forward_of_their_own_are_refused_by_name() -> None:
    backbone = build(block_fn=Masking)
    with pytest.raises(ValueError, match="got block 1, Masking with Attention: its weights"):
        encoder_attention(backbone, images_for(backbone), blocks=(1,))


@pytest.mark.skipif(
    not hasattr(vision_transformer, "DiffAttention"), reason="this timm has no such attention"
)
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"attn_layer": "diff"}, "Block with DiffAttention"),
        (
            {"block_fn": getattr(vision_transformer, "DiffParallelScalingBlock", None)},
            "DiffParallelScalingBlock with DiffParallelScalingBlock",
        ),
    ],
)
def test_differential_attention_is_refused_by_name(options: dict[str, Any], found: str) -> None:
    backbone = build(**options)
    message = f"attention: expected blocks with timm's Attention.*got block 0, {found}: its weights"
    with pytest.raises(ValueError, match=message):
        encoder_attention(backbone, images_for(backbone), blocks=(0,))


def test_other_attention_modules_are_refused_by_name() -> None:
    tokens = torch.randn(1, 3, 8)
    for module, name in ((nn.Linear(8, 8), "Linear"), (OtherAttention(8, 2), "OtherAttention")):
        message = f"module: expected timm's Attention or ParallelScalingBlock, got {name}: its"
        with pytest.raises(ValueError, match=message):
            recompute_attention(module, tokens)
    with pytest.raises(ShapeError, match=r"tokens: expected shape \(B, L, D\), got \(3, 8\)"):
        recompute_attention(Attention(8, 2), tokens[0])
    with pytest.raises(TypeError, match="tokens: expected a floating-point tensor"):
        recompute_attention(Attention(8, 2), tokens.long())


def test_blocks_with_different_head_counts_are_refused() -> None:
    backbone = build()
    backbone.model.blocks[1].attn = Attention(16, num_heads=4)
    with pytest.raises(ValueError, match=r"equally many heads in each, got \[2, 4, 2\]"):
        encoder_attention(backbone, images_for(backbone), blocks=range(3))


def test_bad_arguments_are_named() -> None:
    backbone, images = build(), torch.zeros(1, 3, 32, 32)
    with pytest.raises(TypeError, match=r"model: expected a SingleStageSegmenter .*, got Linear"):
        encoder_attention(nn.Linear(1, 1), images)
    with pytest.raises(ValueError, match="blocks: expected -3 to 2 for 3 blocks, got 3"):
        encoder_attention(backbone, images, blocks=(0, 3))
    with pytest.raises(ValueError, match="blocks: expected at least one, got none"):
        encoder_attention(backbone, images, blocks=())
    for blocks in (-1, "01"):
        with pytest.raises(TypeError, match="blocks: expected a sequence of integers, got "):
            encoder_attention(backbone, images, blocks=blocks)
    for block in (1.0, True):
        with pytest.raises(TypeError, match=f"blocks: expected an integer, got {block}"):
            encoder_attention(backbone, images, blocks=(block,))
    with pytest.raises(ValueError, match=r"queries: .*'patch' \(did you mean 'patches'\?\)"):
        encoder_attention(backbone, images, queries="patch")
    with pytest.raises(ValueError, match="where there is no prefix token, got 'prefix'"):
        encoder_attention(build_form("no prefix token"), images, queries="prefix")
    with pytest.raises(ShapeError, match=r"images: expected shape .* with channels=3"):
        encoder_attention(backbone, images[0])
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        encoder_attention(backbone, images.long())
    with pytest.raises(ValueError, match="images: expected at least one patch"):
        encoder_attention(backbone, images[:, :, :8])
    with pytest.raises(ShapeError, match=r"mask: expected shape .* H=2, W=2, got \(1, 2, 3\)"):
        encoder_attention(backbone, images, torch.zeros(1, 2, 3, dtype=torch.bool))
    attention = encoder_attention(backbone, images)
    with pytest.raises(ValueError, match="query: expected -5 to 4 for 5 queries, got 5"):
        attention.maps(5)
    with pytest.raises(TypeError, match="query: expected an integer, got None"):
        attention.maps(None)
