"""What may be asked of a pass: prefix tokens, blocks, attention; and that it costs nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from timm.models import vision_transformer
from torch import Tensor, nn

from fsr.backbone import BackboneRequest, ViTBackbone, _pass
from fsr.backbone._attention import attention_of
from tests.backbone.classes import FORMS as CLASS_FORMS
from tests.backbone.classes import build as build_class
from tests.backbone.classes import images_for as images_for_class
from tests.backbone.classes import randomised, timms
from tests.backbone.test_backbone import FORMS, build, build_form, images_for
from tests.helpers import assert_compiles

ALL = BackboneRequest(prefix_tokens=True, blocks=(0, 1, 2), attention=(0, 1, 2))


@pytest.fixture
def backbone() -> ViTBackbone:
    made: ViTBackbone = randomised(build_form("registers, patch 14, layer scale")).eval()
    return made


def gradients(backbone: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    backbone.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


# -- the pass stays what it is --------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_tokens_are_those_of_the_plain_call_to_the_last_bit(form: str) -> None:
    backbone = randomised(build_form(form)).eval()
    images = images_for(backbone)
    plain = backbone(images, aux_block=1)
    asked = ALL if backbone.prefix_names else ALL._replace(prefix_tokens=False)
    reading = backbone.read(images, None, asked, aux_block=1)
    assert torch.equal(reading.tokens, plain.tokens)
    assert torch.equal(reading.aux_tokens, plain.aux_tokens)
    assert reading.grid == plain.grid


def test_nothing_is_formed_that_was_not_asked_for(
    backbone: ViTBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    formed: list[int] = []

    def counted(*args: Any, **options: Any) -> Tensor:
        formed.append(1)
        return attention_of(*args, **options)

    monkeypatch.setattr(_pass, "attention_of", counted)
    images = images_for(backbone)
    backbone(images)
    reading = backbone.read(images, request=BackboneRequest(blocks=(1,)))
    assert formed == []
    assert reading.prefix_tokens is None
    assert reading.attention == ()
    assert len(reading.block_tokens) == 1
    assert len(backbone.read(images, request=BackboneRequest(attention=(1,))).attention) == 1
    assert formed == [1]


def test_a_reading_prints_its_shapes(backbone: ViTBackbone) -> None:
    text = repr(backbone.read(images_for(backbone)))
    assert "prefix_tokens=Tensor(2, 5, 16; float32)" in text
    assert text.startswith("BackboneReading(tokens=Tensor(2, 6, 16; float32)")


def test_reading_is_one_graph(backbone: ViTBackbone) -> None:
    def everything(images: Tensor) -> Any:
        return backbone.read(images, None, ALL)

    assert_compiles(everything, images_for(backbone), atol=1e-5)


# -- tokens ---------------------------------------------------------------------------------------


def test_prefix_tokens_before_and_after_the_final_norm_are_timms(backbone: ViTBackbone) -> None:
    images = images_for(backbone)
    found = backbone.read(images).prefix_tokens
    assert found is not None
    raw, normed = backbone.model.blocks, backbone.model.forward_features(images)
    seen: list[Tensor] = []
    handle = raw[2].register_forward_hook(lambda _, inputs, output: seen.append(output))
    backbone(images)
    handle.remove()
    assert torch.equal(found, seen[0][:, :5])
    torch.testing.assert_close(backbone.norm(found), normed[:, :5])


@pytest.mark.parametrize("form", CLASS_FORMS)
def test_prefix_tokens_of_other_classes_are_timms(form: str) -> None:
    backbone, images = build_class(form), images_for_class(form)
    model = timms(form, backbone)
    found = backbone.read(images).prefix_tokens
    assert found is not None
    found = found if isinstance(backbone.model.norm, nn.Identity) else backbone.norm(found)
    torch.testing.assert_close(found, model.forward_features(images)[:, : model.num_prefix_tokens])


def test_blocks_come_whole_in_the_order_asked_for(backbone: ViTBackbone) -> None:
    images = images_for(backbone)
    asked = BackboneRequest(prefix_tokens=True, blocks=(-1, 0, 2))
    reading = backbone.read(images, request=asked)
    final, expected = backbone.model.forward_intermediates(
        images, [0], output_fmt="NLC", return_prefix_tokens=True
    )
    last, first, again = reading.block_tokens
    torch.testing.assert_close(first, torch.cat([expected[0][1], expected[0][0]], dim=1))
    torch.testing.assert_close(backbone.norm(last), final)
    assert torch.equal(last, again)
    assert reading.prefix_tokens is not None
    assert torch.equal(last, torch.cat((reading.prefix_tokens, reading.tokens), dim=1))


def test_a_pass_that_stops_early_gives_the_prefix_tokens_of_its_last_block(
    backbone: ViTBackbone,
) -> None:
    images = images_for(backbone)
    asked = BackboneRequest(prefix_tokens=True, blocks=(1,), attention=(0,))
    early = backbone.read(images, None, asked, aux_block=1, aux_only=True)
    whole = backbone.read(images, None, asked, aux_block=1)
    assert torch.equal(early.tokens, whole.aux_tokens)
    assert early.prefix_tokens is not None
    assert torch.equal(early.prefix_tokens, whole.block_tokens[0][:, :5])
    assert torch.equal(early.attention[0], whole.attention[0])


# -- attention ------------------------------------------------------------------------------------


def unfused(model: Any) -> list[Tensor]:
    """Send a model down timm's unfused path; return where its weights are going to be."""
    found: list[Tensor] = []
    for module in model.blocks.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]
            module.attn_drop.register_forward_hook(lambda _, inputs, __: found.append(inputs[0]))
    return found


@pytest.mark.parametrize("form", CLASS_FORMS)
def test_probabilities_and_their_gradient_are_those_of_timms_unfused_path(form: str) -> None:
    backbone, images = build_class(form), images_for_class(form)
    model: Any = timms(form, backbone)
    expected = unfused(model)
    model.forward_features(images)
    found = backbone.read(images, request=BackboneRequest(attention=(0, 1))).attention
    torch.testing.assert_close(list(found), expected)
    weights = [torch.randn_like(each) for each in expected]
    pairs = ((backbone.model, found), (model, expected))
    ours, theirs = (
        gradients(module, sum(((w * a).sum() for w, a in zip(weights, each, strict=True))))  # type: ignore[arg-type]
        for module, each in pairs
    )
    assert ours.keys() == theirs.keys()
    assert {"blocks.0.mlp.fc2.weight", "blocks.1.norm1.weight"} & ours.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_attention_of_plain_vits_has_the_gradient_of_the_unfused_path(form: str) -> None:
    backbone = randomised(build_form(form)).eval()
    images = images_for(backbone)
    found = backbone.read(images, request=BackboneRequest(attention=(2,))).attention[0]
    weight = torch.randn_like(found)
    ours = gradients(backbone, (weight * found).sum())
    seen = unfused(backbone.model)
    backbone(images)
    parts = len(seen) // 3
    last = torch.cat(seen[-parts:], dim=1)
    torch.testing.assert_close(found, last)
    theirs = gradients(backbone, (weight * last).sum())
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", CLASS_FORMS)
def test_logits_are_products_before_scale_bias_and_softmax(form: str) -> None:
    backbone, images = build_class(form), images_for_class(form, (2, 4))
    asked = BackboneRequest(attention=(1,))
    probabilities = backbone.read(images, request=asked).attention[0]
    logits = backbone.read(images, request=asked._replace(attention_form="logits")).attention[0]
    assert logits.shape == probabilities.shape
    scaled = backbone.model.blocks[1].attn.scale * logits
    if "relative" not in form:
        torch.testing.assert_close(scaled.softmax(dim=3), probabilities)
        return
    # What is left of the logarithm is the bias, the same for every image, up to each row's sum.
    rest = probabilities.log() - scaled
    rest = rest - rest[..., :1]
    torch.testing.assert_close(rest[0], rest[1], rtol=1e-2, atol=1e-2)
    assert bool((rest.abs() > 0.1).any())


def test_logits_equal_plain_loops() -> None:
    block = randomised(vision_transformer.Block(4, num_heads=2, qkv_bias=True)).double()
    tokens = torch.randn(1, 3, 4, dtype=torch.float64)
    projected = block.attn.qkv(block.norm1(tokens))[0].detach().numpy()
    found = attention_of(block, tokens, "logits").detach().numpy()
    for head in range(2):
        for i in range(3):
            for j in range(3):
                q = projected[i, 2 * head : 2 * head + 2]
                k = projected[j, 4 + 2 * head : 6 + 2 * head]
                np.testing.assert_allclose(found[0, head, i, j], q @ k, rtol=1e-12)
    chosen = attention_of(block, tokens, "logits", rows=slice(1, 3)).detach().numpy()
    np.testing.assert_array_equal(chosen, found[:, :, 1:3])


def test_attention_ignores_dropout_and_comes_in_float32() -> None:
    backbone = build(attn_drop_rate=0.5).train()
    images = images_for(backbone)
    asked = BackboneRequest(attention=(0,))
    found = backbone.read(images, request=asked).attention[0]
    assert torch.equal(found, backbone.read(images, request=asked).attention[0])
    half = backbone.bfloat16().read(images.bfloat16(), request=asked).attention[0]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(3), torch.ones_like(half.sum(3)), rtol=1e-5, atol=1e-5)


def test_gradient_checkpointing_keeps_attention_and_its_gradient() -> None:
    backbone = randomised(build()).eval()
    images = images_for(backbone)
    asked = BackboneRequest(attention=(0, -1), attention_form="logits")
    plain = backbone.read(images, request=asked).attention
    expected = gradients(backbone, plain[1].square().mean())
    backbone.model.set_grad_checkpointing()
    again = backbone.read(images, request=asked).attention
    assert torch.equal(plain[1], again[1])
    for name, value in gradients(backbone, again[1].square().mean()).items():
        torch.testing.assert_close(value, expected[name])


# -- bad input ------------------------------------------------------------------------------------


def test_bad_requests_are_named(backbone: ViTBackbone) -> None:
    images = images_for(backbone)

    def read(aux_only: bool = False, **asked: Any) -> None:
        backbone.read(images, request=BackboneRequest(**asked), aux_block=0, aux_only=aux_only)

    with pytest.raises(TypeError, match="request: expected a BackboneRequest, got tuple"):
        backbone.read(images, request=(True,))
    with pytest.raises(ValueError, match="attention: expected -3 to 2 for 3 blocks, got 3"):
        read(attention=(0, 3))
    with pytest.raises(ValueError, match="blocks: expected -3 to 2 for 3 blocks, got -4"):
        read(blocks=(-4,))
    with pytest.raises(TypeError, match="blocks: expected an integer, got True"):
        read(blocks=(True,))
    with pytest.raises(ValueError, match=r"attention_form: .*'logit' .*mean 'logits'"):
        read(attention_form="logit")
    with pytest.raises(ValueError, match="with aux_only the pass stops after block 0, got 1"):
        read(attention=(1,), aux_only=True)
    plain = build_form("no prefix token")
    images = images_for(plain)
    with pytest.raises(ValueError, match="expected no prefix tokens, as the encoder has none"):
        plain.read(images)


@pytest.mark.skipif(
    not hasattr(vision_transformer, "DiffAttention"), reason="this timm has no such attention"
)
def test_attention_that_cannot_be_formed_is_refused_by_name() -> None:
    backbone = build(attn_layer="diff")
    message = "attention: expected blocks with timm's .*got block 1, Block with DiffAttention"
    with pytest.raises(ValueError, match=message):
        backbone.read(images_for(backbone), request=BackboneRequest(attention=(1,)))
    with pytest.raises(ValueError, match=r"block: expected blocks .*got block 0, Linear with none"):
        attention_of(nn.Linear(2, 2), torch.zeros(1, 2, 2))
    assert "attention" not in backbone.offers
