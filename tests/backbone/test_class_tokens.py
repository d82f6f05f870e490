"""One class token per class: copies of the pretrained one that part in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fsr.backbone import BackboneRequest, ViTBackbone, check_offers
from tests.backbone.classes import SMALL, randomised

VIT, DEIT3 = "vit_tiny_patch16_224", "deit3_small_patch16_224"
ASKED = BackboneRequest(prefix_tokens=True, blocks=(0,), attention=(0, -1))


@pytest.fixture(params=[VIT, DEIT3])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, Tensor]]:
    """A name, a checkpoint with one class token for a grid of 3 x 3, and what it holds."""
    model = timm.create_model(request.param, num_classes=0, img_size=48, **SMALL)
    state = randomised(model).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    return request.param, tmp_path / "weights.pth", state


def build(name: str, count: int | None, path: Path | None = None, **options: Any) -> ViTBackbone:
    return ViTBackbone(
        name,
        pretrained=path or False,
        image_size=48,
        options={**SMALL, **options},
        class_tokens=count,
    )


def images(height: int = 48, width: int = 48) -> Tensor:
    return torch.randn(2, 3, height, width)


def by_blocks(model: Any, pixels: Tensor) -> list[Tensor]:
    """Outputs of the blocks of a ViT with any number of class tokens, written out."""
    count = model.cls_token.shape[1]
    patches = model.patch_embed.proj(pixels)
    grid = patches.shape[2:]
    patches = patches.flatten(2).transpose(1, 2)
    own = 0 if model.no_embed_class else count
    classes = model.cls_token.expand(len(pixels), -1, -1)
    if own:
        classes = classes + model.pos_embed[:, :count]
    positions = model.pos_embed[:, own:]
    if tuple(grid) != (3, 3):
        positions = resample_abs_pos_embed(positions, list(grid), [3, 3], num_prefix_tokens=0)
    tokens = torch.cat((classes, patches + positions), dim=1)
    outputs = []
    for block in model.blocks:
        tokens = block(tokens)
        outputs.append(tokens)
    return outputs


def test_one_class_token_is_the_network_without_the_option_to_the_last_bit(
    weights: tuple[str, Path, dict[str, Tensor]],
) -> None:
    name, path, _ = weights
    torch.manual_seed(1)
    plain = build(name, None, path)
    torch.manual_seed(1)
    one = build(name, 1, path)
    assert list(one.state_dict()) == list(plain.state_dict())
    for key, value in plain.state_dict().items():
        assert torch.equal(one.state_dict()[key], value), key
    pixels, mask = images(48, 80), torch.rand(2, 3, 5) < 0.5
    expected, found = (each.read(pixels, mask, ASKED, aux_block=0) for each in (plain, one))
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.aux_tokens, expected.aux_tokens)
    assert found.prefix_tokens is not None
    assert expected.prefix_tokens is not None
    assert torch.equal(found.prefix_tokens, expected.prefix_tokens)
    for one_map, plain_map in zip(found.attention, expected.attention, strict=True):
        assert torch.equal(one_map, plain_map)


def test_each_is_a_copy_of_the_pretrained_token_at_its_position(
    weights: tuple[str, Path, dict[str, Tensor]],
) -> None:
    name, path, state = weights
    backbone = build(name, 3, path)
    assert backbone.class_tokens == 3
    assert backbone.prefix_names == ("class",) * 3
    assert backbone.model.num_prefix_tokens == 3
    assert torch.equal(backbone.model.cls_token, state["cls_token"].expand(1, 3, 32))
    positions = state["pos_embed"]
    if name == VIT:  # DeiT-3 keeps no position for its class token.
        positions = torch.cat((positions[:, :1].expand(1, 3, 32), positions[:, 1:]), dim=1)
    assert torch.equal(backbone.model.pos_embed, positions)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("grid", [(3, 3), (2, 4)])
def test_tokens_and_attention_are_those_of_the_blocks_written_out(
    weights: tuple[str, Path, dict[str, Tensor]], grid: tuple[int, int]
) -> None:
    backbone = randomised(build(weights[0], 3)).eval()
    pixels = images(16 * grid[0], 16 * grid[1])
    first, last = by_blocks(backbone.model, pixels)
    reading = backbone.read(pixels, request=ASKED)
    torch.testing.assert_close(reading.block_tokens[0], first)
    torch.testing.assert_close(reading.tokens, last[:, 3:])
    torch.testing.assert_close(reading.prefix_tokens, last[:, :3])
    count = 3 + grid[0] * grid[1]
    assert [each.shape for each in reading.attention] == [(2, 2, count, count)] * 2
    block = backbone.model.blocks[1]
    q, k, _ = block.attn.qkv(block.norm1(first)).view(2, count, 3, 2, 16).permute(2, 0, 3, 1, 4)
    weights_of = (q @ k.transpose(2, 3) / 4).softmax(dim=3)
    torch.testing.assert_close(reading.attention[1], weights_of)


def test_tokens_start_equal_and_each_learns_from_its_own_loss(
    weights: tuple[str, Path, dict[str, Tensor]],
) -> None:
    name, path, _ = weights
    backbone = build(name, 3, path)
    prefix = backbone.read(images()).prefix_tokens
    assert prefix is not None
    for token in prefix.unbind(1):
        torch.testing.assert_close(token, prefix[:, 0])
    # Of the last token's logit alone, the others feel what attention carries.
    prefix[:, 2].mean().backward()
    gradient = backbone.model.cls_token.grad[0]
    torch.testing.assert_close(gradient[0], gradient[1])
    assert (gradient[2] - gradient[0]).abs().max() > 1e-4
    if name == VIT:
        positions = backbone.model.pos_embed.grad[0, :3]
        torch.testing.assert_close(positions, gradient)
    with torch.no_grad():
        backbone.model.cls_token -= 0.1 * backbone.model.cls_token.grad
    assert not torch.equal(backbone.model.cls_token[0, 2], backbone.model.cls_token[0, 0])
    assert torch.equal(backbone.model.cls_token[0, 0], backbone.model.cls_token[0, 1])


def test_a_state_comes_back_and_no_other_count_takes_it() -> None:
    backbone = randomised(build(VIT, 3)).eval()
    again = build(VIT, 3).eval()
    again.load_state_dict(backbone.state_dict())
    pixels = images(32, 48)
    assert torch.equal(again(pixels).tokens, backbone(pixels).tokens)
    with pytest.raises(RuntimeError, match=r"size mismatch for model.cls_token"):
        build(VIT, 2).load_state_dict(backbone.state_dict())


def test_a_module_gets_its_copies_too() -> None:
    model = randomised(timm.create_model(VIT, img_size=48, **SMALL))
    token = model.cls_token.detach().clone()
    backbone = ViTBackbone(model, class_tokens=4)
    assert torch.equal(backbone.model.cls_token, token.expand(1, 4, 32))
    assert backbone.read(images()).tokens.shape == (2, 9, 32)


def test_what_is_frozen_stays_frozen() -> None:
    model = timm.create_model(VIT, img_size=48, **SMALL).requires_grad_(False)
    ViTBackbone(model, class_tokens=2)
    assert not model.cls_token.requires_grad
    assert not model.pos_embed.requires_grad


def test_several_class_tokens_are_offered_as_such() -> None:
    always = {"attention", "blocks", "mask_token", "prefix_tokens"}
    assert build(VIT, None).offers == always | {"class_token"}
    assert build(VIT, 1).offers == always | {"class_token", "class_tokens"}
    several = build(VIT, 3)
    assert several.offers == always | {"class_tokens"}
    check_offers(several, ["class_tokens", "attention"], "mctformer")
    message = r"^toco: needs a class token \(class_token\), which VisionTransformer does not offer"
    with pytest.raises(ValueError, match=message):
        check_offers(several, ["class_token"], "toco")
    message = r"^mctformer: needs one class token per class \(class_tokens\), which"
    with pytest.raises(ValueError, match=message):
        check_offers(build(VIT, None), ["class_tokens"], "mctformer")


EXPECTED = "class_tokens: expected a VisionTransformer with one class token and no other prefix"


@pytest.mark.parametrize(
    ("name", "options", "got"),
    [
        (VIT, {"reg_tokens": 2}, "VisionTransformer with 1 class, 2 register"),
        (VIT, {"class_token": False, "global_pool": ""}, "VisionTransformer with none"),
        (
            "deit_tiny_distilled_patch16_224",
            {},
            "VisionTransformerDistilled with 1 class, 1 distillation",
        ),
        ("eva02_tiny_patch14_224", {}, "Eva"),
        ("beit_base_patch16_224", {}, "Beit"),
    ],
)
def test_what_cannot_be_combined_is_refused_by_name(
    name: str, options: dict[str, Any], got: str
) -> None:
    size = 42 if "patch14" in name else 48
    with pytest.raises(ValueError, match=rf"^{EXPECTED} token, got {got}$"):
        ViTBackbone(name, image_size=size, options={**SMALL, **options}, class_tokens=3)


def test_a_module_that_has_several_already_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got VisionTransformer with 3 class$"):
        ViTBackbone(build(VIT, 3).model, class_tokens=3)


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_count_is_a_positive_integer(count: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^class_tokens: expected a positive integer, got"):
        build(VIT, count)


class Reader(nn.Module):
    """A network that reads patches alone, as a pass for CAMs does."""

    def __init__(self, backbone: ViTBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.backbone.norm(self.backbone(pixels).tokens)
        return tokens.square().mean()


def test_no_parameter_is_left_without_gradient(
    weights: tuple[str, Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        network = DistributedDataParallel(Reader(randomised(build(weights[0], 3))))
        for _ in range(2):  # The second forward raises if a parameter got none in the first.
            network(images()).backward()
    finally:
        distributed.destroy_process_group()
    assert all(parameter.grad is not None for parameter in network.parameters())
