"""The ViT adapter: token forms, mask token, input sizes, pretrained weights, bad input."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn

from fsr.backbone import ViTBackbone
from fsr.errors import ShapeError
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

NAME = "vit_tiny_patch16_224"
SMALL = {"embed_dim": 16, "depth": 3, "num_heads": 2}
NO_CLASS = {"class_token": False, "global_pool": ""}

# Every prefix-token form, place of the final norm, and patch size that the adapter promises.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "class token": (NAME, {}),
    "no prefix token": (NAME, NO_CLASS),
    "distillation token": ("deit_tiny_distilled_patch16_224", {}),
    "registers, patch 14, layer scale": ("vit_small_patch14_reg4_dinov2", {}),
    "class position folded away": (NAME, {"no_embed_class": True}),
    "fc_norm": (NAME, {"global_pool": "avg"}),
    "fc_norm without class token": (NAME, {"global_pool": "avg", "class_token": False}),
    "pre-norm": ("vit_base_patch16_clip_224", {}),
    "attention pool": ("vit_base_patch16_siglip_224", {}),
    "no final norm": (NAME, {"final_norm": False}),
    "no position embedding": (NAME, {"pos_embed": "none", **NO_CLASS}),
    "patch dropout": (NAME, {"patch_drop_rate": 0.5}),
    "parallel blocks": ("vit_small_patch16_18x2_224", {}),
}


def build(name: str = NAME, image_size: Any = 32, **options: Any) -> ViTBackbone:
    return ViTBackbone(name, image_size=image_size, options={**SMALL, **options})


def build_form(form: str) -> ViTBackbone:
    name, options = FORMS[form]
    return build(name, 28 if "14" in form else 32, **options)


def images_for(backbone: ViTBackbone, grid: tuple[int, int] = (2, 3), batch: int = 2) -> Tensor:
    height, width = backbone.patch_size
    return torch.randn(batch, 3, grid[0] * height, grid[1] * width)


def save(state: dict[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def vit(img_size: int = 64, name: str = NAME, **options: Any) -> nn.Module:
    """A timm model as somebody else would build and train it, position embedding included."""
    model = timm.create_model(name, img_size=img_size, **{**SMALL, **options})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "token" in key or "pos_embed" in key:
                parameter.normal_()
    return model.eval()


# -- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_tokens_equal_timms_own_with_the_prefix_stripped(form: str) -> None:
    backbone = build_form(form).eval()
    images = images_for(backbone)
    output = backbone(images, aux_block=1)
    assert output.grid == (2, 3)
    reference = copy.deepcopy(backbone.model)
    reference.norm = backbone.norm
    expected, intermediates = reference.forward_intermediates(images, [1], output_fmt="NLC")
    prefix = reference.num_prefix_tokens
    torch.testing.assert_close(backbone.norm(output.tokens), expected[:, prefix:])
    torch.testing.assert_close(output.aux_tokens, intermediates[0])
    assert output.tokens.shape == (2, 6, 16)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("masked", [False, True])
def test_backward_reaches_every_trainable_parameter(form: str, masked: bool) -> None:
    backbone = build_form(form).train()
    mask = torch.tensor([[[True, False, False], [False, False, True]]] * 2) if masked else None
    output = backbone(images_for(backbone), mask, aux_block=-2)
    backbone.norm(output.tokens).square().sum().backward()
    silent = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_final_norm_is_norm_or_else_fc_norm() -> None:
    plain, averaged, bare = build(), build(global_pool="avg"), build(final_norm=False)
    assert plain.norm is plain.model.norm
    assert averaged.norm is averaged.model.fc_norm
    assert isinstance(averaged.norm, nn.LayerNorm)
    assert isinstance(bare.norm, nn.Identity)


def test_describes_itself() -> None:
    backbone = build("vit_base_patch16_clip_224")
    assert (backbone.embed_dim, backbone.num_heads, backbone.depth) == (16, 2, 3)
    assert backbone.patch_size == (16, 16)
    config = timm.data.resolve_data_config(model=backbone.model)  # type: ignore[no-untyped-call]
    assert backbone.mean == config["mean"] != (0.5, 0.5, 0.5)
    assert backbone.std == config["std"]
    assert build("vit_small_patch14_reg4_dinov2", 28).patch_size == (14, 14)


def test_the_scenes_encoder_is_a_known_name() -> None:
    assert ViTBackbone("fsr_scenes_tiny", image_size=32).patch_size == (8, 8)


# -- masking --------------------------------------------------------------------------------------


def test_mask_token_stands_in_after_patch_and_before_position_embedding() -> None:
    backbone = build().eval()
    with torch.no_grad():
        backbone.model.pos_embed.normal_()
        backbone.mask_token.normal_()
    images = images_for(backbone, (2, 2), batch=1)
    mask = torch.tensor([[[False, True], [False, False]]])
    seen: list[Tensor] = []
    backbone.model.norm_pre.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    backbone(images)
    backbone(images, mask)
    plain, masked = (each[0] for each in seen)
    expected = plain.clone()
    expected[2] = backbone.mask_token[0, 0] + backbone.model.pos_embed[0, 2]
    torch.testing.assert_close(masked, expected)


def test_content_of_masked_patches_reaches_nothing() -> None:
    backbone = build().eval()
    images = images_for(backbone, (2, 2))
    mask = torch.tensor([[[True, False], [False, False]]] * 2)
    other = images.clone()
    other[:, :, :16, :16] = float("nan")
    assert torch.equal(backbone(images, mask).tokens, backbone(other, mask).tokens)


def test_a_mask_of_nothing_is_no_mask() -> None:
    backbone = build().eval()
    images = images_for(backbone, (2, 2))
    nothing = torch.zeros(2, 2, 2, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(backbone(images, nothing).tokens, backbone(images).tokens)


# -- sizes ----------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))
def test_an_images_tokens_do_not_depend_on_its_batch(rows: int, columns: int, seed: int) -> None:
    torch.manual_seed(seed)
    backbone = build().eval()
    images = images_for(backbone, (rows, columns), batch=3)
    with torch.no_grad():
        together = backbone(images).tokens
        alone = [backbone(images[i : i + 1]).tokens[0] for i in range(3)]
    torch.testing.assert_close(torch.stack(alone), together)


def test_position_embedding_follows_the_input_size_in_float32() -> None:
    backbone = build().eval()
    with torch.no_grad():
        backbone.model.pos_embed.normal_()
        backbone.model.patch_embed.proj.weight.zero_()
        backbone.model.patch_embed.proj.bias.zero_()
    seen: list[Tensor] = []
    backbone.model.norm_pre.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    backbone(images_for(backbone, (3, 5), batch=1))
    exact = resample_abs_pos_embed(backbone.model.pos_embed, [3, 5], [2, 2], num_prefix_tokens=1)
    torch.testing.assert_close(seen[0][:, 1:], exact[:, 1:])
    backbone.bfloat16()(images_for(backbone, (3, 5), batch=1).bfloat16())
    rounded = resample_abs_pos_embed(
        backbone.model.pos_embed.float(), [3, 5], [2, 2], num_prefix_tokens=1
    )
    assert torch.equal(seen[1][:, 1:], rounded.bfloat16()[:, 1:])


def test_a_rectangular_image_size_makes_a_rectangular_grid() -> None:
    backbone = build(image_size=(32, 48))
    assert backbone.model.pos_embed.shape == (1, 1 + 6, 16)
    assert backbone(torch.zeros(1, 3, 48, 16)).grid == (3, 1)


def test_a_module_passed_in_keeps_its_weights_and_takes_any_size() -> None:
    module = vit()
    before = copy.deepcopy(module)
    backbone = ViTBackbone(module).eval()
    assert backbone.model is module
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, before.state_dict()[name])
    images = torch.randn(1, 3, 64, 64)
    expected = before.forward_features(images)[:, 1:]
    torch.testing.assert_close(backbone.norm(backbone(images).tokens), expected)
    assert backbone(torch.randn(1, 3, 32, 96)).grid == (2, 6)


@pytest.mark.parametrize(
    ("name", "options"),
    [(NAME, {}), (NAME, {"global_pool": "avg"}), ("deit_tiny_distilled_patch16_224", {})],
)
def test_a_module_passed_in_loses_its_heads(name: str, options: dict[str, Any]) -> None:
    backbone = ViTBackbone(vit(name=name, num_classes=7, **options))
    output = backbone(torch.randn(1, 3, 32, 32))
    backbone.norm(output.tokens).square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


# -- pretrained weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_same_form_and_size_loads_exactly(tmp_path: Path, suffix: str) -> None:
    source = vit(num_classes=9)
    path = save(source.state_dict(), tmp_path / f"weights{suffix}")
    backbone = ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


@pytest.mark.parametrize("checkpoint", [{}, NO_CLASS, {"no_embed_class": True}])
@pytest.mark.parametrize("model", [{}, NO_CLASS, {"no_embed_class": True}])
@pytest.mark.parametrize("image_size", [64, 96, 32])
def test_position_embedding_survives_another_size_and_prefix_form(
    tmp_path: Path, checkpoint: dict[str, Any], model: dict[str, Any], image_size: int
) -> None:
    source = vit(64, **checkpoint)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    loaded = ViTBackbone(
        NAME, pretrained=path, image_size=image_size, options={**SMALL, **model}
    ).model.state_dict()

    embedded = checkpoint == {}
    positions = source.pos_embed[:, 1:] if embedded else source.pos_embed
    square = positions.reshape(1, 4, 4, 16).permute(0, 3, 1, 2)
    side = image_size // 16
    direct = nn.functional.interpolate(square, size=(side, side), mode="bicubic", antialias=True)
    expected = direct.permute(0, 2, 3, 1).reshape(1, side * side, 16)
    patches = loaded["pos_embed"][:, -side * side :]
    if image_size == 64:
        assert torch.equal(patches, positions)
    torch.testing.assert_close(patches, expected)

    if "cls_token" in loaded and checkpoint != NO_CLASS:
        # Token and position add up to the same class input, whoever holds the position.
        total = loaded["cls_token"] + (loaded["pos_embed"][:, :1] if model == {} else 0)
        source_total = source.cls_token + (source.pos_embed[:, :1] if embedded else 0)
        torch.testing.assert_close(total, source_total)


def test_a_checkpoint_with_class_token_gives_the_same_tokens_folded_or_not(tmp_path: Path) -> None:
    source = vit(64)
    path = save(source.state_dict(), tmp_path / "weights.pth")
    folded = ViTBackbone(
        NAME, pretrained=path, image_size=64, options={**SMALL, "no_embed_class": True}
    ).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = source.forward_features(images)[:, 1:]
    torch.testing.assert_close(folded.norm(folded(images).tokens), expected)


def test_pretrained_size_224_to_448_without_class_token(tmp_path: Path) -> None:
    source = vit(224)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    options = {**SMALL, **NO_CLASS}
    loaded = ViTBackbone(NAME, pretrained=str(path), options=options).model.pos_embed
    assert loaded.shape == (1, 28 * 28, 16)
    grid = loaded.reshape(28, 28, 16)
    old = source.pos_embed[0, 1:].reshape(14, 14, 16)
    # Bicubic weights half-way between samples, Keys' kernel with a = -0.5, written out.
    near, far = [-0.0703125, 0.8671875, 0.2265625, -0.0234375], []
    far = near[::-1]
    for y, x in [(9, 12), (14, 15)]:
        wy, wx = (near if y % 2 else far), (near if x % 2 else far)
        top, left = (y - 1) // 2 - 1, (x - 1) // 2 - 1
        expected = sum(wy[i] * wx[j] * old[top + i, left + j] for i in range(4) for j in range(4))
        torch.testing.assert_close(grid[y, x], expected, rtol=1e-4, atol=1e-5)


def test_distilled_weights_load_with_or_without_their_tokens(tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    source = vit(name=name)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    plain = ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL).model
    assert torch.equal(plain.pos_embed[:, 1:], source.pos_embed[:, 2:])
    assert torch.equal(plain.pos_embed[:, 0], source.pos_embed[:, 0])
    both = ViTBackbone(name, pretrained=path, image_size=64, options=SMALL).model
    assert torch.equal(both.pos_embed, source.pos_embed)
    back = ViTBackbone(
        name,
        pretrained=save(vit().state_dict(), tmp_path / "plain.pth"),
        image_size=64,
        options=SMALL,
    ).model
    assert back.pos_embed.shape == (1, 2 + 16, 16)


def test_registers_of_a_checkpoint_are_kept_or_dropped(tmp_path: Path) -> None:
    source = vit(reg_tokens=4)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    dropped = ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL).model
    assert torch.equal(dropped.pos_embed[:, 1:], source.pos_embed[:, 5:])
    kept = ViTBackbone(NAME, pretrained=path, image_size=64, options={**SMALL, "reg_tokens": 4})
    assert torch.equal(kept.model.reg_token, source.reg_token)
    assert torch.equal(kept.model.pos_embed, source.pos_embed)


def test_the_final_norm_is_found_under_either_name(tmp_path: Path) -> None:
    source = vit(global_pool="avg")
    with torch.no_grad():
        source.fc_norm.weight.normal_()
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    backbone = ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)
    assert torch.equal(backbone.model.norm.weight, source.fc_norm.weight)


def test_another_patch_size_resamples_the_kernel(tmp_path: Path) -> None:
    source = vit(56, "vit_small_patch14_dinov2")
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    options = {**SMALL, "init_values": 1e-5}
    backbone = ViTBackbone(NAME, pretrained=path, image_size=64, options=options)
    assert backbone.model.patch_embed.proj.weight.shape == (16, 3, 16, 16)
    assert torch.equal(backbone.model.pos_embed, source.pos_embed)


def test_names_of_other_code_are_translated_by_timm(tmp_path: Path) -> None:
    """DINOv2's own checkpoints carry a mask token and name registers differently."""
    name = "vit_small_patch14_reg4_dinov2"
    source = vit(518, name)
    state = dict(source.state_dict())
    state["register_tokens"] = state.pop("reg_token")
    class_position = torch.randn(1, 1, 16)
    state["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
    state["mask_token"] = torch.zeros(1, 16)
    path = save(state, tmp_path / "dinov2.pth")
    loaded = ViTBackbone(name, pretrained=path, image_size=518, options=SMALL).model
    assert torch.equal(loaded.reg_token, source.reg_token)
    torch.testing.assert_close(loaded.cls_token, source.cls_token + class_position)
    assert torch.equal(loaded.pos_embed, source.pos_embed)


def test_true_takes_timms_weights_in_their_own_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded: timm is told that the weights of the name lie in a file."""
    source = vit(224, num_classes=1000)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    create = timm.create_model

    def local(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        overlay = {"file": str(path), "custom_load": False} if pretrained else None
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **options)

    monkeypatch.setattr(timm, "create_model", local)
    monkeypatch.setattr("fsr.backbone._pretrained.check_weights_at_hand", lambda name: None)
    options = {**SMALL, **NO_CLASS}
    loaded = ViTBackbone(NAME, pretrained=True, image_size=64, options=options).model
    expected = resample_abs_pos_embed(source.pos_embed, [4, 4], [14, 14], num_prefix_tokens=1)
    torch.testing.assert_close(loaded.pos_embed, expected[:, 1:])
    assert torch.equal(loaded.blocks[2].mlp.fc1.weight, source.blocks[2].mlp.fc1.weight)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = vit().state_dict()
    del state["blocks.1.norm1.bias"]
    state["extra"] = torch.zeros(1)
    state["blocks.0.norm1.bias"] = torch.zeros(3)
    path = save(state, tmp_path / "weights.pth")
    message = (
        r"pretrained: .*weights.pth. does not fit the backbone; missing: blocks.1.norm1.bias; "
        r"unexpected: extra; of another shape: blocks.0.norm1.bias \(3,\) for \(16,\)"
    )
    with pytest.raises(ValueError, match=message):
        ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)
    state = {f"{name}.encoder": value for name, value in vit().state_dict().items()}
    path = save(state, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=r"missing: blocks.0.attn.proj.bias.* and .* more"):
        ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)
    state = vit().state_dict() | {"pos_embed": torch.zeros(1, 15, 16)}
    path = save(state, tmp_path / "positions.pth")
    message = (
        r"has 15 positions and 1 prefix tokens, which is neither a square grid nor .* \(4, 4\)"
    )
    with pytest.raises(ValueError, match=message):
        ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)


class _Code:
    """What unpickling must never touch."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code in the checkpoint was run",))


def test_files_that_run_code_or_hold_no_weights_are_refused(tmp_path: Path) -> None:
    def load(path: Path) -> None:
        ViTBackbone(NAME, pretrained=path, image_size=64, options=SMALL)

    torch.save({"weights": _Code()}, tmp_path / "code.pth")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for name in ("code.pth", "junk.safetensors"):
        with pytest.raises(ValueError, match=f"no weights could be read from .*{name}"):
            load(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"expected a state dictionary of tensors in .*other.pth"):
        load(tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"expected a file .safetensors.*, got .*weights.npz"):
        load(tmp_path / "weights.npz")
    with pytest.raises(FileNotFoundError, match=r"pretrained: no file .*none.pth"):
        load(tmp_path / "none.pth")


# -- common checks --------------------------------------------------------------------------------


def test_droppath_acts_in_training_only() -> None:
    backbone = build(drop_path_rate=0.9)
    images = images_for(backbone)
    assert not torch.equal(backbone(images).tokens, backbone(images).tokens)
    backbone.eval()
    assert torch.equal(backbone(images).tokens, backbone(images).tokens)


def test_gradient_checkpointing_changes_no_value() -> None:
    backbone = build().eval()
    images = images_for(backbone)
    plain = backbone(images)
    plain.tokens.sum().backward()
    gradients = [p.grad.clone() for p in backbone.parameters() if p.grad is not None]
    backbone.zero_grad()
    backbone.model.set_grad_checkpointing()
    again = backbone(images)
    again.tokens.sum().backward()
    assert torch.equal(again.tokens, plain.tokens)
    for gradient, parameter in zip(
        gradients, (p for p in backbone.parameters() if p.grad is not None), strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient)


def test_follows_device_dtype_and_autocast(device: torch.device) -> None:
    backbone = build().eval().to(device)
    images = images_for(backbone, (2, 2)).to(device)
    mask = torch.zeros(2, 2, 2, dtype=torch.bool, device=device)
    expected = backbone(images, mask).tokens
    assert expected.device.type == device.type
    with torch.autocast(device.type, torch.bfloat16):
        mixed = backbone(images, mask).tokens
    torch.testing.assert_close(mixed.float(), expected, rtol=0.1, atol=0.1)
    exact = backbone.double()(images.double(), mask).tokens
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["class token", "no prefix token", "pre-norm"])
def test_state_copies_and_compilation(form: str) -> None:
    backbone = build_form(form).eval()
    images = images_for(backbone)
    mask = torch.rand(2, 2, 3) < 0.5
    assert_state_dict_round_trip(backbone, lambda: build_form(form), images, mask)
    assert_deepcopy_after_forward(backbone, images, mask)
    assert_pickles(backbone, images, mask)
    assert_compiles(backbone, images, mask, atol=1e-5)


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [("resnet18", "ResNet"), ("cait_xxs24_224", "Cait"), ("swin_tiny_patch4_window7_224", "Swin")],
)
def test_other_classes_are_named(name: str, found: str) -> None:
    message = f"backbone: expected timm's VisionTransformer.*, Eva or Beit, got {found}.*: not .*"
    with pytest.raises(ValueError, match=message):
        ViTBackbone(name, image_size=224)
    with pytest.raises(ValueError, match="got Linear: not supported"):
        ViTBackbone(nn.Linear(2, 2))


def test_a_subclass_with_other_features_is_refused() -> None:
    class Other(VisionTransformer):
        def forward_features(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return x

    with pytest.raises(ValueError, match="got Other: not supported"):
        ViTBackbone(Other(img_size=32, **SMALL))


def test_unknown_names_get_the_nearest_one() -> None:
    message = "expected the name of a timm model, got 'vit_tiny_patch16_225' .*'vit_tiny_patch16_22"
    with pytest.raises(ValueError, match=message):
        ViTBackbone("vit_tiny_patch16_225")
    with pytest.raises(ValueError, match=r"got 'xyz'$"):
        ViTBackbone("xyz")
    with pytest.raises(ValueError, match=r"cannot build .*Invalid pretrained tag \(none\)"):
        ViTBackbone("vit_tiny_patch16_224.none")


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"cannot build .*'class_token': False}: \w+"):
        build(class_token=False)
    with pytest.raises(ValueError, match=r"cannot build .*'colour'"):
        build(colour=1)
    with pytest.raises(ValueError, match="backbone_options: 'img_size' is not an option here"):
        build(img_size=32)
    with pytest.raises(TypeError, match="backbone_options: expected a mapping, got list"):
        ViTBackbone(NAME, options=[1])
    with pytest.raises(ValueError, match="belong to a name; got them with a module"):
        ViTBackbone(vit(), options=SMALL)
    with pytest.raises(ValueError, match="belong to a name; got them with a module"):
        ViTBackbone(vit(), pretrained=True)
    with pytest.raises(TypeError, match="backbone: expected a timm name or a module, got int"):
        ViTBackbone(3)
    with pytest.raises(TypeError, match="pretrained: expected False, True or a path, got int"):
        ViTBackbone(NAME, pretrained=1)
    with pytest.raises(ValueError, match="pretrained: timm has no weights for"):
        ViTBackbone("vit_base_patch16_xp_224", pretrained=True, image_size=32, options=SMALL)


@pytest.mark.parametrize(
    ("size", "near"),
    [
        ((40, 32), r"\(32, 32\) or \(48, 32\)"),
        ((8, 33), r"\(16, 32\) or \(16, 48\)"),
        ((8, 16), r"\(16, 16\)$"),
    ],
)
def test_sizes_that_the_patch_does_not_divide_are_refused(size: tuple[int, int], near: str) -> None:
    message = rf"images: expected .* patch \(16, 16\) divides, got \({size[0]}, .*nearest: {near}"
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(1, 3, *size))
    with pytest.raises(ValueError, match="image_size: expected a height and width"):
        build(image_size=size)


def test_bad_image_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="image_size: expected a positive integer, got 0"):
        build(image_size=0)
    with pytest.raises(TypeError, match="image_size: expected a positive integer, got '32'"):
        build(image_size="32")


def test_bad_images_masks_and_blocks_are_named() -> None:
    backbone, images = build(), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ShapeError, match=r"images: expected shape .* with channels=3"):
        backbone(torch.zeros(1, 4, 32, 32))
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        backbone(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ShapeError, match=r"mask: expected shape \(B, H, W\) with B=1, H=2, W=2"):
        backbone(images, torch.zeros(1, 2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask: expected a boolean tensor"):
        backbone(images, torch.zeros(1, 2, 2))
    for block in (3, -4):
        with pytest.raises(ValueError, match=f"aux_block: expected -3 to 2 .*, got {block}"):
            backbone(images, aux_block=block)
    with pytest.raises(TypeError, match=r"aux_block: expected an integer, got 1.0"):
        backbone(images, aux_block=1.0)
