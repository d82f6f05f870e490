"""Eva and Beit as encoders: timm's own tokens, mask token, sizes, precision, state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from fsr.backbone import ViTBackbone
from tests.backbone.classes import (
    BEIT,
    CLASSES,
    FORMS,
    SMALL,
    build,
    images_for,
    patch_of,
    randomised,
    timms,
)
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

EVA = "eva02_tiny_patch14_224"
SOME = [
    "EVA02: rotary and absolute",
    "DINOv3: rotary alone, registers",
    "rotary, learned by block",
    "BEiT: relative by block",
    "BEiT, relative shared",
]
SOME_FORMS = [form for form in FORMS if form.values[0] in SOME]


def tokens_of(backbone: ViTBackbone, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Patch tokens after the norm that timm's forward_features ends with, if it does."""
    tokens = backbone(images, mask).tokens
    return tokens if isinstance(backbone.model.norm, nn.Identity) else backbone.norm(tokens)


@pytest.mark.parametrize("form", FORMS)
def test_tokens_equal_timms_own_with_the_prefix_stripped(form: str) -> None:
    backbone, images = build(form), images_for(form)
    model = timms(form, backbone)
    expected, intermediates = model.forward_intermediates(images, [0], output_fmt="NLC")
    torch.testing.assert_close(tokens_of(backbone, images), expected[:, model.num_prefix_tokens :])
    output = backbone(images, aux_block=0)
    torch.testing.assert_close(output.aux_tokens, intermediates[0])
    assert output.grid == (3, 3)
    assert len(backbone.prefix_names) == model.num_prefix_tokens


@pytest.mark.parametrize("form", FORMS)
def test_the_mask_token_stands_in_after_patch_embedding_before_positions(form: str) -> None:
    backbone, images = build(form), images_for(form)
    mask = torch.zeros(2, 3, 3, dtype=torch.bool)
    mask[0, 0, 1] = mask[0, 2, 2] = mask[1, 1, 0] = True
    model = timms(form, backbone)

    def masked(module: nn.Module, inputs: Any, patches: Tensor) -> Tensor:
        where = mask.reshape(patches.shape[:-1]).unsqueeze(-1)
        return torch.where(where, backbone.mask_token[0, 0], patches)

    model.patch_embed.register_forward_hook(masked)
    found, prefix = tokens_of(backbone, images, mask), model.num_prefix_tokens
    torch.testing.assert_close(found, model.forward_features(images)[:, prefix:])
    assert not torch.allclose(found, tokens_of(backbone, images))
    changed = images.clone()
    side = patch_of(form)
    changed[0, :, :side, side : 2 * side] = float("nan")
    assert torch.equal(tokens_of(backbone, changed, mask), found)


@pytest.mark.parametrize("form", [form for form in FORMS if "BEiT" not in form.values[0]])
@pytest.mark.parametrize("grid", [(4, 4), (2, 5)])
def test_rotations_follow_the_input_size_as_timms_do(form: str, grid: tuple[int, int]) -> None:
    backbone, images = build(form), images_for(form, grid)
    model = timms(form, backbone, dynamic_img_size=True)
    expected = model.forward_features(images)[:, model.num_prefix_tokens :]
    torch.testing.assert_close(tokens_of(backbone, images), expected)
    assert backbone(images).grid == grid


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("masked", [False, True])
def test_backward_reaches_every_trainable_parameter(form: str, masked: bool) -> None:
    backbone = build(form).train()
    mask = torch.rand(2, 2, 4) < 0.5 if masked else None
    output = backbone(images_for(form, (2, 4)), mask, aux_block=-2)
    backbone.norm(output.tokens).square().sum().backward()
    silent = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


@pytest.mark.parametrize("form", SOME_FORMS)
def test_an_images_tokens_do_not_depend_on_its_batch(form: str) -> None:
    backbone, images = build(form), images_for(form, (2, 3), batch=3)
    together = backbone(images).tokens
    alone = torch.cat([backbone(image.unsqueeze(0)).tokens for image in images])
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("form", SOME_FORMS)
def test_gradient_checkpointing_changes_no_value(form: str) -> None:
    backbone, images = build(form), images_for(form, (2, 4))
    plain = backbone(images).tokens
    plain.square().sum().backward()
    gradients = {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}
    backbone.zero_grad()
    backbone.model.set_grad_checkpointing()
    again = backbone(images).tokens
    again.square().sum().backward()
    assert torch.equal(again, plain)
    for name, parameter in backbone.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name])


@pytest.mark.parametrize("form", SOME_FORMS)
def test_follows_device_dtype_and_autocast(form: str, device: torch.device) -> None:
    backbone, images = build(form).to(device), images_for(form, (2, 4)).to(device)
    expected = backbone(images).tokens
    assert expected.device.type == device.type
    with torch.autocast(device.type, torch.bfloat16):
        mixed = backbone(images).tokens
    torch.testing.assert_close(mixed.float(), expected, rtol=0.2, atol=0.2)
    exact = copy.deepcopy(backbone).double()(images.double()).tokens
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", SOME_FORMS)
def test_state_copies_and_compilation(form: str) -> None:
    backbone, images = build(form), images_for(form, (2, 4))
    mask = torch.rand(2, 2, 4) < 0.5
    assert_state_dict_round_trip(backbone, lambda: build(form), images, mask)
    assert_deepcopy_after_forward(backbone, images, mask)
    assert_pickles(backbone, images, mask)
    assert_compiles(backbone, images, mask, atol=1e-5)


@pytest.mark.parametrize("form", SOME_FORMS)
def test_droppath_acts_in_training_only(form: str) -> None:
    backbone = build(form, drop_path_rate=0.9).train()
    images = images_for(form, batch=8)
    assert not torch.equal(backbone(images).tokens, backbone(images).tokens)
    backbone.eval()
    assert torch.equal(backbone(images).tokens, backbone(images).tokens)


def test_dropout_of_attention_and_projection_acts_in_training_only() -> None:
    for rate in ("attn_drop_rate", "proj_drop_rate", "pos_drop_rate"):
        backbone = build("BEiT: relative by block", **{rate: 0.5})
        images = images_for("BEiT: relative by block")
        assert torch.equal(backbone(images).tokens, backbone(images).tokens)
        backbone.train()
        assert not torch.equal(backbone(images).tokens, backbone(images).tokens)


def test_patch_dropout_is_left_out() -> None:
    form = "EVA02: rotary and absolute"
    backbone = build(form, patch_drop_rate=0.5).train()
    assert backbone(images_for(form)).tokens.shape == (2, 9, 32)


# -- modules passed in ----------------------------------------------------------------------------


def test_a_beit_passed_in_keeps_its_weights_and_takes_any_size() -> None:
    module = randomised(timm.create_model(BEIT, img_size=48, num_classes=7, **SMALL)).eval()
    images = torch.randn(1, 3, 48, 48)
    expected = module.forward_features(images)[:, 1:]
    backbone = ViTBackbone(module)
    assert backbone.model is module
    torch.testing.assert_close(backbone(images).tokens, expected)
    assert backbone(torch.randn(1, 3, 32, 80)).grid == (2, 5)
    # Unlike its head, its own forward stays in place.
    torch.testing.assert_close(module.forward_features(images)[:, 1:], expected)


def test_an_eva_passed_in_must_have_rotations_that_follow_the_image() -> None:
    fixed = timm.create_model(EVA, img_size=56, **SMALL)
    message = r"expected an Eva built with dynamic_img_size=True, .* fixed to \(4, 4\) patches"
    with pytest.raises(ValueError, match=message):
        ViTBackbone(fixed)
    free = randomised(timm.create_model(EVA, img_size=56, dynamic_img_size=True, **SMALL))
    assert ViTBackbone(free)(torch.randn(1, 3, 28, 70)).grid == (2, 5)
    absolute: Any = timm.create_model("eva_giant_patch14_224", img_size=56, **SMALL)
    assert ViTBackbone(absolute)(torch.randn(1, 3, 28, 70)).grid == (2, 5)


# -- names ----------------------------------------------------------------------------------------


def test_describes_itself() -> None:
    made = ViTBackbone(EVA, image_size=56, options=SMALL)
    assert (made.embed_dim, made.num_heads, made.depth) == (32, 2, 2)
    assert made.patch_size == (14, 14)
    assert made.mean == timm.data.resolve_data_config(model=made.model)["mean"]  # type: ignore[no-untyped-call]
    assert made.description == "Eva"
    assert made.width(-1) == 32
    with pytest.raises(ValueError, match="aux_block: expected -2 to 1 for 2 blocks, got 2"):
        made.width(2)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("EVA02: rotary and absolute", ("class",)),
        ("DINOv3: rotary alone, registers", ("class", *["register"] * 4)),
        ("rotary, register, no class token", ("register",)),
        ("BEiT: relative by block", ("class",)),
    ],
)
def test_prefix_tokens_are_named(form: str, names: tuple[str, ...]) -> None:
    if not timm.is_model(CLASSES[form][0]):
        pytest.skip("this timm lacks it")
    assert build(form).prefix_names == names


def test_unknown_names_get_the_nearest_one_of_all_classes() -> None:
    with pytest.raises(ValueError, match="mean 'eva02_tiny_patch14_224'"):
        ViTBackbone("eva02_tiny_patch14_2244")
    with pytest.raises(ValueError, match=r"mean 'beitv2_base_patch16_224'"):
        ViTBackbone("beitv2_base_patch16_2244")
