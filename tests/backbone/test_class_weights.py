"""Pretrained weights of Eva and Beit: other sizes, prefix forms, timm's own, other code's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from fsr.backbone import FrozenEncoder, ViTBackbone
from tests.backbone.classes import BEIT, CLASSES, FORMS, SMALL, build, images_for, patch_of
from tests.backbone.test_backbone import save

EVA = "eva02_tiny_patch14_224"


def load(form: str, path: Path, grid: tuple[int, int], **options: Any) -> ViTBackbone:
    name, own = CLASSES[form]
    size = (grid[0] * patch_of(form), grid[1] * patch_of(form))
    made = ViTBackbone(name, pretrained=path, image_size=size, options={**SMALL, **own, **options})
    return made.eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_same_form_and_size_loads_exactly(tmp_path: Path, form: str, suffix: str) -> None:
    source = build(form)
    path = save(source.model.state_dict(), tmp_path / f"weights{suffix}")
    loaded = load(form, path, (3, 3)).model.state_dict()
    for name, value in source.model.state_dict().items():
        assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("grid", [(4, 4), (2, 5)])
def test_weights_of_another_size_make_the_network_that_runs_at_that_size(
    tmp_path: Path, form: str, grid: tuple[int, int]
) -> None:
    """Positions resized once, when loading, or in the pass: the same tokens."""
    source, images = build(form), images_for(form, grid)
    path = save(source.model.state_dict(), tmp_path / "weights.safetensors")
    loaded = load(form, path, grid)
    found, expected = loaded(images).tokens, source(images).tokens
    if "relative" not in form and "BEiT" not in form:
        torch.testing.assert_close(found, expected)
        return
    # timm's own Beit, which takes this size alone.
    own = loaded.model.forward_features(images)[:, 1:]
    torch.testing.assert_close(found, own)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_towers_attention_pool_is_not_missed(tmp_path: Path) -> None:
    name = "vit_base_patch16_siglip_224"
    source = timm.create_model(name, img_size=48, **SMALL)
    for without in ((), ("attn_pool.",)):
        state = {k: v for k, v in source.state_dict().items() if not k.startswith(without)}
        path = save(state, tmp_path / f"{len(without)}.safetensors")
        loaded = ViTBackbone(name, pretrained=path, image_size=64, options=SMALL)
        assert loaded.model.attn_pool is None
        assert torch.equal(loaded.model.blocks[1].mlp.fc2.weight, source.blocks[1].mlp.fc2.weight)


def test_positions_are_interpolated_and_tokens_dropped_or_kept(tmp_path: Path) -> None:
    form = "EVA02: rotary and absolute"
    source = build(form)
    path = save(source.model.state_dict(), tmp_path / "weights.safetensors")
    loaded = load(form, path, (4, 4), class_token=False, global_pool="avg").model
    expected = resample_abs_pos_embed(source.model.pos_embed, [4, 4], [3, 3], num_prefix_tokens=1)
    torch.testing.assert_close(loaded.pos_embed, expected[:, 1:])
    assert loaded.cls_token is None


@pytest.mark.parametrize("name", [EVA, BEIT])
def test_true_takes_timms_weights_in_their_own_form(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded: timm is told that the weights of the name lie in a file."""
    source: Any = timm.create_model(name, num_classes=1000, **SMALL)
    for parameter in source.parameters():
        nn.init.normal_(parameter, std=0.3)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    create = timm.create_model

    def local(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        overlay = {"file": str(path), "custom_load": False, "num_classes": 1000}
        chosen = overlay if pretrained else None
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=chosen, **options)

    monkeypatch.setattr(timm, "create_model", local)
    monkeypatch.setattr("fsr.backbone._pretrained.check_weights_at_hand", lambda name: None)
    side = 14 if "patch14" in name else 16
    loaded = ViTBackbone(name, pretrained=True, image_size=4 * side, options=SMALL).model
    assert torch.equal(loaded.blocks[1].attn.proj.weight, source.blocks[1].attn.proj.weight)
    assert torch.equal(loaded.fc_norm.weight, source.fc_norm.weight)
    if name == BEIT:
        assert loaded.blocks[0].attn.relative_position_bias_table.shape == (7 * 7 + 3, 2)
    else:
        side = source.patch_embed.grid_size[0]
        expected = resample_abs_pos_embed(
            source.pos_embed, [4, 4], [side, side], num_prefix_tokens=1
        )
        torch.testing.assert_close(loaded.pos_embed, expected)


def test_names_of_beits_own_code_are_translated(tmp_path: Path) -> None:
    source = build("BEiT: relative by block")
    state: dict[str, Tensor] = dict(source.model.state_dict())
    state["blocks.0.attn.relative_position_index"] = torch.zeros(10, 10, dtype=torch.long)
    state |= {"mask_token": torch.zeros(1, 1, 32), "lm_head.weight": torch.zeros(5, 32)}
    path = save(state, tmp_path / "beit.pth")
    loaded = load("BEiT: relative by block", path, (3, 3)).model.state_dict()
    for name, value in source.model.state_dict().items():
        assert torch.equal(loaded[name], value), name


def test_names_of_evas_own_code_are_translated(tmp_path: Path) -> None:
    source = build("EVA02: rotary and absolute")
    renamed = (("mlp.fc1_g", "mlp.w1"), ("mlp.fc1_x", "mlp.w2"), ("mlp.fc2", "mlp.w3"))
    state: dict[str, Tensor] = {"rope.freqs_cos": torch.zeros(2)}
    for key, value in source.model.state_dict().items():
        for own, other in renamed:
            key = key.replace(own, other)
        state[key] = value
    path = save(state, tmp_path / "eva.pth")
    loaded = load("EVA02: rotary and absolute", path, (3, 3)).model
    assert torch.equal(loaded.blocks[1].mlp.fc2.weight, source.model.blocks[1].mlp.fc2.weight)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = build("BEiT: relative by block").model.state_dict()
    key = "blocks.0.attn.relative_position_bias_table"
    state[key] = torch.zeros(7, 2)
    path = save(state, tmp_path / "weights.pth")
    message = rf"does not fit the backbone; .*of another shape: {key} \(7, 2\) for \(28, 2\)"
    with pytest.raises(ValueError, match=message):
        load("BEiT: relative by block", path, (3, 3))


@pytest.mark.parametrize("form", ["EVA02: rotary and absolute", "BEiT: relative by block"])
def test_a_frozen_encoder_may_be_of_these_classes(form: str) -> None:
    encoder = FrozenEncoder(build(form))
    assert encoder(torch.rand(1, 3, 50, 33), (4, 2)).shape == (1, 8, 32)
