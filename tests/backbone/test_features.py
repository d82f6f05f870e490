"""Networks of feature maps: timm's own maps as tokens, sizes, weights, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.errors import ShapeError
from tests.backbone.test_backbone import save
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("resnet18", {"channels": (8, 8, 12, 16)}),
    "ResNet of stride 16": ("resnet18", {"channels": (8, 8, 12, 16), "output_stride": 16}),
    "ConvNeXt": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 12, 16)}),
    "Swin": ("swin_tiny_patch4_window7_224", SWIN),
    "Swin v2": ("swinv2_tiny_window8_256", SWIN),
    "EfficientNet": ("test_efficientnet", {}),
}


def build(form: str, **options: Any) -> FeatureBackbone:
    name, own = NETWORKS[form]
    return FeatureBackbone(name, image_size=64, options={**own, **options}).eval()


def timms(form: str) -> Any:
    """timm's own stages and the whole network."""
    name, own = NETWORKS[form]
    size = {"img_size": 64} if "swin" in name else {}
    stages = timm.create_model(name, features_only=True, **size, **own).eval()
    return stages, timm.create_model(name, **size, **own).eval()


def nchw(maps: Tensor, width: int) -> Tensor:
    return maps if maps.shape[1] == width else maps.permute(0, 3, 1, 2)


@pytest.mark.parametrize("form", NETWORKS)
def test_tokens_are_the_cells_of_timms_own_maps(form: str) -> None:
    backbone, images = build(form), torch.randn(2, 3, 64, 64)
    model, _ = timms(form)
    model.load_state_dict(backbone.model.state_dict())
    widths = model.feature_info.channels()
    maps = [nchw(each, width) for each, width in zip(model(images), widths, strict=True)]
    output = backbone(images, aux_block=-2)
    assert backbone.widths == tuple(widths)
    assert backbone.embed_dim == widths[-1]
    assert output.grid == tuple(maps[-1].shape[2:])
    torch.testing.assert_close(output.tokens, maps[-1].flatten(2).transpose(1, 2))
    pooled = F.adaptive_avg_pool2d(maps[-2], output.grid)
    torch.testing.assert_close(output.aux_tokens, pooled.flatten(2).transpose(1, 2))
    for found, expected in zip(backbone.stages(images), maps, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", NETWORKS)
def test_images_may_have_any_size_that_the_stride_divides(form: str) -> None:
    backbone = build(form)
    stride = backbone.patch_size[0]
    output = backbone(torch.randn(1, 3, 2 * stride, 5 * stride), aux_block=0)
    assert output.grid == (2, 5)
    assert output.tokens.shape == (1, 10, backbone.embed_dim)
    assert output.aux_tokens.shape == (1, 10, backbone.widths[0])
    with pytest.raises(ValueError, match=rf"patch \({stride}, {stride}\) divides, got"):
        backbone(torch.randn(1, 3, stride + 1, stride))


@pytest.mark.parametrize("form", NETWORKS)
def test_backward_reaches_every_parameter(form: str) -> None:
    backbone = build(form).train()
    output = backbone(torch.randn(2, 3, 64, 64))
    (output.tokens.square().sum() + output.aux_tokens.square().sum()).backward()
    silent = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_output_stride_makes_a_finer_grid() -> None:
    assert build("ResNet").patch_size == (32, 32)
    fine = build("ResNet of stride 16")
    assert fine.patch_size == (16, 16)
    output = fine(torch.randn(1, 3, 64, 32))
    assert output.grid == (4, 2)
    assert output.aux_tokens.shape == (1, 8, 12)


def test_an_earlier_stage_is_averaged_over_the_cells() -> None:
    backbone, images = build("ResNet"), torch.randn(1, 3, 64, 64)
    found = backbone(images, aux_block=1).aux_tokens[0, 1]
    expected = backbone.stages(images)[1][0, :, :8, 8:].mean(dim=(1, 2))
    torch.testing.assert_close(found, expected)
    early = backbone(images, aux_block=1, aux_only=True)
    assert torch.equal(early.tokens, early.aux_tokens)
    assert torch.equal(early.tokens[0, 1], found)


def test_describes_itself() -> None:
    backbone = build("ResNet")
    assert backbone.description == "resnet18"
    assert backbone.depth == 5
    assert backbone.num_heads is None
    assert backbone.prefix_names == ()
    assert backbone.offers == {"stages"}
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.std == (0.229, 0.224, 0.225)
    assert (backbone.width(-1), backbone.width(-2), backbone.width(0)) == (16, 12, 64)
    tokens = torch.randn(1, 2, 16)
    assert torch.equal(backbone.norm(tokens), tokens)


@pytest.mark.parametrize("form", ["ResNet", "Swin"])
def test_state_copies_and_compilation(form: str) -> None:
    backbone, images = build(form), torch.randn(2, 3, 64, 64)
    assert_state_dict_round_trip(backbone, lambda: build(form), images)
    assert_deepcopy_after_forward(backbone, images)
    assert_pickles(backbone, images)
    assert_compiles(backbone, images, atol=1e-4)


def test_follows_device_and_dtype(device: torch.device) -> None:
    backbone, images = build("ConvNeXt").to(device), torch.randn(1, 3, 64, 64, device=device)
    expected = backbone(images).tokens
    assert expected.device.type == device.type
    exact = copy.deepcopy(backbone).double()(images.double()).tokens
    torch.testing.assert_close(exact.float(), expected, rtol=1e-3, atol=1e-3)


def test_gradient_checkpointing_changes_no_value() -> None:
    backbone, images = build("ConvNeXt"), torch.randn(1, 3, 64, 64)
    plain = backbone(images).tokens
    backbone.model.set_grad_checkpointing(True)
    torch.testing.assert_close(backbone(images).tokens, plain)


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NETWORKS)
def test_weights_of_the_whole_network_load_into_its_stages(form: str, tmp_path: Path) -> None:
    name, own = NETWORKS[form]
    _, whole = timms(form)
    path = save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = FeatureBackbone(name, pretrained=path, image_size=64, options=own).eval()
    images = torch.randn(1, 3, 64, 64)
    maps = whole.forward_intermediates(images, intermediates_only=True)
    torch.testing.assert_close(backbone.stages(images)[-1], maps[-1])
    # Its own state loads too.
    path = save(backbone.model.state_dict(), tmp_path / "stages.safetensors")
    again = FeatureBackbone(name, pretrained=path, image_size=64, options=own).eval()
    assert torch.equal(again(images).tokens, backbone(images).tokens)


def test_weights_load_where_timm_wraps_the_whole_network(tmp_path: Path) -> None:
    name, own = "vit_tiny_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}
    whole = timm.create_model(name, img_size=64, **own)
    path = save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = FeatureBackbone(
        name, pretrained=path, image_size=64, options={**own, "out_indices": (0, 1)}
    ).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = whole.eval().forward_intermediates(images, norm=False, intermediates_only=True)
    torch.testing.assert_close(backbone.stages(images)[-1], expected[-1])


def test_true_takes_timms_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: timm is told that the weights of the name lie in a file."""
    name, own = NETWORKS["ResNet"]
    source = timm.create_model(name, **own)
    path = save(source.state_dict(), tmp_path / "weights.safetensors")
    create = timm.create_model

    def local(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        overlay = {"file": str(path), "custom_load": False} if pretrained else None
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **options)

    monkeypatch.setattr(timm, "create_model", local)
    monkeypatch.setattr("fsr.backbone._build_features.check_weights_at_hand", lambda name: None)
    backbone = FeatureBackbone(name, pretrained=True, options=own)
    assert torch.equal(backbone.model.conv1.weight, source.conv1.weight)
    fine = FeatureBackbone(name, pretrained=True, options={**own, "output_stride": 16})
    assert torch.equal(fine.model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)


def test_weights_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, own = NETWORKS["ResNet"]
    state = timm.create_model(name, **own).state_dict()
    del state["layer4.0.conv1.weight"]
    path = save({**state, "extra": torch.zeros(1)}, tmp_path / "weights.pth")
    message = r"does not fit the backbone; missing: layer4.0.conv1.weight; unexpected: extra; of"
    with pytest.raises(ValueError, match=message):
        FeatureBackbone(name, pretrained=path, options=own)
    with pytest.raises(FileNotFoundError, match=r"pretrained: no file 'none.pth'"):
        FeatureBackbone(name, pretrained="none.pth", options=own)
    monkeypatch.setattr(timm, "is_model_pretrained", lambda name: False)
    with pytest.raises(ValueError, match="pretrained: timm has no weights for 'resnet18'"):
        FeatureBackbone(name, pretrained=True, options=own)


# -- bad input ------------------------------------------------------------------------------------


def test_a_mask_is_refused_by_name() -> None:
    backbone, images = build("ResNet"), torch.zeros(1, 3, 32, 32)
    mask = torch.zeros(1, 1, 1, dtype=torch.bool)
    message = r"mask: expected None; resnet18 has no mask token, .*, got \(1, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        backbone(images, mask)
    module = timm.create_model("resnet18", features_only=True)
    with pytest.raises(ValueError, match="mask: expected None; FeatureListNet has no mask token"):
        FeatureBackbone(module)(images, mask)


def test_bad_networks_are_named() -> None:
    with pytest.raises(ValueError, match=r"timm cannot build 'vgg11' .*'colour'"):
        FeatureBackbone("vgg11", options={"colour": 1})
    with pytest.raises(
        ValueError, match=r"expected the name of a timm model, got 'resnet1888' .*'resnet18'"
    ):
        FeatureBackbone("resnet1888")
    with pytest.raises(ValueError, match="backbone_options: 'num_classes' is not an option here"):
        FeatureBackbone("resnet18", options={"num_classes": 3})
    with pytest.raises(TypeError, match="backbone: expected a timm name or a module, got int"):
        FeatureBackbone(3)
    with pytest.raises(ValueError, match=r"features_only=True\), got Linear"):
        FeatureBackbone(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"features_only=True\), got ResNet"):
        FeatureBackbone(timm.create_model("resnet18"))
    with pytest.raises(ValueError, match=r"go through FeatureBackbone"):
        ViTBackbone("resnet18")
    with pytest.raises(ValueError, match="belong to a name; got them with a module"):
        FeatureBackbone(timm.create_model("resnet18", features_only=True), pretrained=True)


def test_bad_images_and_stages_are_named() -> None:
    backbone, images = build("ResNet"), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ShapeError, match=r"images: expected shape .* with channels=3"):
        backbone(torch.zeros(1, 4, 32, 32))
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        backbone(images.long())
    for stage in (5, -6):
        with pytest.raises(ValueError, match=f"aux_block: expected -5 to 4 .*, got {stage}"):
            backbone(images, aux_block=stage)
    with pytest.raises(TypeError, match="aux_block: expected an integer, got None"):
        backbone(images, aux_block=None)
