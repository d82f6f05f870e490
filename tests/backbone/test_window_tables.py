"""Swin at images that its windows do not fit into: every offset keeps what was learned of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor

from fsr.backbone import FeatureBackbone
from fsr.backbone._window_tables import fit_window_table, fit_window_tables
from tests.backbone.classes import randomised
from tests.backbone.test_backbone import save

SWIN, SWIN2 = "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"
SMALL: dict[str, Any] = {"embed_dim": 8, "depths": (1, 1, 2, 2), "num_heads": (1, 1, 2, 2)}


def trained(name: str, path: Path) -> Any:
    """A whole network of the size that timm builds, whose weights lie at a path."""
    model = randomised(timm.create_model(name, **SMALL)).eval()
    save(model.state_dict(), path)
    return model


def bias(attention: Any) -> Tensor:
    """Bias of a window's attention by query and key, ``(heads, cells, cells)``."""
    if hasattr(attention, "cpb_mlp"):
        table = attention.cpb_mlp(attention.relative_coords_table).flatten(0, 2)
    else:
        table = attention.relative_position_bias_table
    cells = attention.window_size[0] * attention.window_size[1]
    chosen: Tensor = table[attention.relative_position_index.flatten()]
    return chosen.view(cells, cells, -1).permute(2, 0, 1)


@pytest.mark.parametrize("name", [SWIN, SWIN2])
@pytest.mark.parametrize("size", [(96, 96), (96, 160)])
def test_cells_of_a_narrowed_window_attend_as_they_were_trained_to(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    whole = trained(name, tmp_path / "weights.pth")
    backbone = FeatureBackbone(
        name, pretrained=tmp_path / "weights.pth", image_size=size, options=SMALL
    )
    narrowed = 0
    for stage in range(4):
        for index, block in enumerate(whole.layers[stage].blocks):
            theirs = block.attn
            own = getattr(backbone.model, f"layers_{stage}").blocks[index].attn
            height, width = own.window_size
            narrowed += tuple(own.window_size) != tuple(theirs.window_size)
            side = theirs.window_size[0]
            # The cells of the small window in the corner of the large one.
            corner = torch.arange(side * side).view(side, side)[:height, :width].flatten()
            torch.testing.assert_close(bias(own), bias(theirs)[:, corner][:, :, corner])
    assert narrowed >= 4
    assert tuple(backbone.model.layers_3.blocks[0].attn.window_size) == (
        size[0] // 32,
        size[1] // 32,
    )
    assert backbone(torch.randn(1, 3, *size)).grid == (size[0] // 32, size[1] // 32)


@pytest.mark.parametrize("name", [SWIN, SWIN2])
def test_at_the_size_of_the_weights_the_maps_are_timms(name: str, tmp_path: Path) -> None:
    whole = trained(name, tmp_path / "weights.pth")
    side = 224 if name == SWIN else 256
    backbone = FeatureBackbone(
        name, pretrained=tmp_path / "weights.pth", image_size=side, options=SMALL
    )
    images = torch.randn(1, 3, side, side)
    maps = whole.forward_intermediates(images, intermediates_only=True)
    torch.testing.assert_close(backbone.eval().stages(images)[-1], maps[-1])


def test_timms_weights_are_fitted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: timm is told that the weights of the name lie in a file."""
    trained(SWIN, tmp_path / "weights.safetensors")
    create = timm.create_model

    def local(name: str, pretrained: bool = False, **options: Any) -> Any:
        file = {"file": str(tmp_path / "weights.safetensors"), "custom_load": False}
        overlay = file if pretrained else None
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **options)

    monkeypatch.setattr(timm, "create_model", local)
    monkeypatch.setattr("fsr.backbone._build_features.check_weights_at_hand", lambda name: None)
    made = FeatureBackbone(SWIN, pretrained=True, image_size=96, options=SMALL)
    from_file = FeatureBackbone(
        SWIN, pretrained=tmp_path / "weights.safetensors", image_size=96, options=SMALL
    )
    for key, value in made.state_dict().items():
        assert torch.equal(value, from_file.state_dict()[key]), key


@pytest.mark.parametrize("name", [SWIN, SWIN2])
def test_a_state_comes_back_into_a_network_built_alike(name: str, tmp_path: Path) -> None:
    trained(name, tmp_path / "weights.pth")
    backbone = FeatureBackbone(
        name, pretrained=tmp_path / "weights.pth", image_size=96, options=SMALL
    ).eval()
    again = FeatureBackbone(name, image_size=96, options=SMALL).eval()
    again.load_state_dict(backbone.state_dict())
    images = torch.randn(1, 3, 96, 96)
    assert torch.equal(again(images).tokens, backbone(images).tokens)


def test_offsets_over_a_whole_map_are_kept_as_those_of_a_window_are(tmp_path: Path) -> None:
    name = "coatnet_pico_rw_224"
    whole = timm.create_model(name)
    save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = FeatureBackbone(name, pretrained=tmp_path / "weights.pth", image_size=96)
    theirs = whole.stages[3].blocks[0].attn.rel_pos.get_bias()
    own = backbone.model.stages_3.blocks[0].attn.rel_pos.get_bias()
    corner = torch.arange(49).view(7, 7)[:3, :3].flatten()
    torch.testing.assert_close(own, theirs[:, :, corner][..., corner])


def test_a_window_that_was_named_as_trained_stays() -> None:
    options = {**SMALL, "pretrained_window_sizes": (12, 12, 12, 6)}
    backbone = FeatureBackbone(SWIN2, image_size=96, options=options)
    attention = backbone.model.layers_3.blocks[0].attn
    assert tuple(attention.window_size) == (3, 3)
    assert tuple(attention.pretrained_window_size) == (6, 6)


def test_a_larger_window_takes_timms_interpolation() -> None:
    table = torch.randn(9, 2)
    assert torch.equal(fit_window_table(table, (2, 2), (2, 2)), table)
    for wanted in ((3, 3), (1, 4)):
        shape = ((2 * wanted[0] - 1) * (2 * wanted[1] - 1), 2)
        expected = resize_rel_pos_bias_table(table, wanted, shape)
        assert expected.shape == shape
        assert torch.equal(fit_window_table(table, (2, 2), wanted), expected)


def test_a_table_of_no_square_window_is_refused_by_name(tmp_path: Path) -> None:
    narrow = FeatureBackbone(SWIN, image_size=(96, 160), options=SMALL)
    key = "layers_3.blocks.0.attn.relative_position_bias_table"
    state = narrow.model.state_dict()
    wide = FeatureBackbone(SWIN, image_size=224, options=SMALL)
    assert fit_window_tables(wide.model, state)[key] is state[key]
    save(state, tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match=rf"of another shape: .*{key} \(45, 2\) for \(169, 2\)"):
        FeatureBackbone(SWIN, pretrained=tmp_path / "narrow.pth", image_size=224, options=SMALL)
    # At its own size it comes back.
    FeatureBackbone(SWIN, pretrained=tmp_path / "narrow.pth", image_size=(96, 160), options=SMALL)
