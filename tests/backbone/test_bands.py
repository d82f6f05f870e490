"""Encoders of other bands than red, green and blue: their normalisation, weights and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.errors import ShapeError
from fsr.segmenter import SingleStageSegmenter, read_checkpoint
from tests.helpers import assert_same

TINY: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
SIX: dict[str, Any] = {"in_chans": 6, "mean": [900.0] * 6, "std": [250] * 6}


def build(kind: str, **options: Any) -> Any:
    if kind == "vit":
        return ViTBackbone("vit_tiny_patch16_224", image_size=32, options={**TINY, **options})
    return FeatureBackbone("resnet18", options=options)


@pytest.mark.parametrize("kind", ["vit", "features"])
def test_an_encoder_takes_as_many_bands_as_it_is_told(kind: str) -> None:
    backbone = build(kind, **SIX)
    assert (backbone.in_chans, backbone.mean, backbone.std) == (6, (900.0,) * 6, (250.0,) * 6)
    assert backbone(torch.zeros(1, 6, 32, 64)).tokens.shape[0] == 1
    with pytest.raises(ShapeError, match="channels=6, got"):
        backbone(torch.zeros(1, 3, 32, 64))
    plain = build(kind)
    assert (plain.in_chans, plain.mean) == (3, plain.mean)
    assert build(kind, mean=[0.1, 0.2, 0.3]).mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"in_chans": 6}, ValueError, "a network of 6 bands needs mean and std of each, in the"),
        ({**SIX, "std": [1.0] * 5}, ValueError, "got 6 and 5 numbers"),
        ({**SIX, "std": [0.0] * 6}, ValueError, "expected std above 0"),
        ({**SIX, "mean": 900.0}, TypeError, "expected numbers as mean, got 900.0"),
        ({**SIX, "mean": ["a"] * 6}, TypeError, "expected numbers as mean"),
        ({**SIX, "mean": [float("nan")] * 6}, ValueError, "expected finite numbers as mean"),
    ],
)
@pytest.mark.parametrize("kind_of_encoder", ["vit", "features"])
def test_bands_without_a_normalisation_are_refused(
    kind_of_encoder: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        build(kind_of_encoder, **options)


def test_a_network_of_bands_is_saved_and_loaded_with_its_normalisation(tmp_path: Path) -> None:
    model = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options={**TINY, **SIX},
    ).eval()
    model.save(tmp_path / "model.safetensors")
    again = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    images = torch.randn(1, 6, 37, 40)
    assert again.backbone.std == (250.0,) * 6
    assert_same(again.predict(images, scales=(1.0,)), model.predict(images, scales=(1.0,)))
    assert again.cam(images, scales=(1.0,))[0].shape == (1, 2, 37, 40)


def test_a_saved_network_names_the_file_it_began_with_and_no_folder(tmp_path: Path) -> None:
    weights = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **TINY)
    save_file(weights.state_dict(), tmp_path / "weights.safetensors")
    model = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        pretrained=tmp_path / "weights.safetensors",
        image_size=32,
        projection_dim=8,
        backbone_options=TINY,
    )
    model.save(tmp_path / "model.safetensors")
    header, _ = read_checkpoint(tmp_path / "model.safetensors")
    assert header["arguments"]["pretrained"] == "weights.safetensors"


def test_weights_of_colours_are_shared_out_among_the_bands(tmp_path: Path) -> None:
    weights = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **TINY)
    save_file(weights.state_dict(), tmp_path / "weights.safetensors")
    backbone = ViTBackbone(
        "vit_tiny_patch16_224",
        pretrained=tmp_path / "weights.safetensors",
        image_size=32,
        options={**TINY, **SIX},
    )
    # timm's rule: repeated, and scaled so that equal bands give what grey did.
    kernel = weights.patch_embed.proj.weight
    assert_same(backbone.model.patch_embed.proj.weight, torch.cat([kernel, kernel], dim=1) * 0.5)
