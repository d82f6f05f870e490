"""The segmenter over a network of feature maps, given by name or as a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.segmenter import SingleStageSegmenter
from tests.helpers import assert_compiles

NAME = "features:resnet18"
SMALL = {"channels": (8, 8, 12, 16)}


def build(
    backbone: Any = NAME, aggregator: Any = "average", **options: Any
) -> SingleStageSegmenter:
    own = SMALL if isinstance(backbone, str) else None
    options = {"aggregator": aggregator, "backbone_options": own, **options}
    return SingleStageSegmenter(3, backbone, projection_dim=8, aux_block=-2, **options).eval()


def heads_of(model: SingleStageSegmenter, images: Tensor) -> list[Tensor]:
    return [head for head in model(images) if isinstance(head, Tensor)]


def test_every_head_is_there() -> None:
    model, images = build(), torch.randn(2, 3, 64, 96)
    assert isinstance(model.backbone, FeatureBackbone)
    output = model(images)
    assert output.grid == (2, 3)
    assert output.class_logits.shape == output.aux_class_logits.shape == (2, 3)
    assert output.segmentation.shape == (2, 4, 2, 3)
    assert output.tokens.shape == (2, 6, 16)
    assert output.aux_tokens.shape == (2, 6, 12)
    assert output.projections.shape == (2, 7, 8)
    assert model.aux_classifier.weight.shape == (3, 12, 1, 1)


def test_cams_and_predictions_have_the_images_size() -> None:
    model, images = build(), torch.rand(1, 3, 70, 50)
    final, auxiliary = model.cam(images)
    assert final.shape == auxiliary.shape == (1, 3, 70, 50)
    probabilities = model.predict(images)
    assert probabilities.shape == (1, 4, 70, 50)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 70, 50))


def test_backward_reaches_every_parameter() -> None:
    model = build(aggregator="mca", aggregator_options={"num_heads": 4}).train()
    sum(head.square().sum() for head in heads_of(model, torch.randn(2, 3, 64, 64))).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_the_aggregators_head_count_must_be_chosen() -> None:
    message = (
        r"aggregator: resnet18 has no attention heads whose number 'mca' could take: "
        r"expected aggregator_options=\{'num_heads': ...\}, or an aggregator 'average', 'max' or"
    )
    for aggregator in (None, "mca"):
        with pytest.raises(ValueError, match=message):
            build(aggregator=aggregator)
    chosen = build(aggregator=None, aggregator_options={"num_heads": 4})
    maps = chosen.attention_maps(torch.randn(1, 3, 64, 96))
    assert maps.shape[2:] == (4, 2, 3)
    build(aggregator=nn.Identity())


def test_aggregator_options_change_a_vits_too_and_are_refused_where_there_is_no_use() -> None:
    small = {"embed_dim": 16, "depth": 3, "num_heads": 2}

    def vit(**options: Any) -> SingleStageSegmenter:
        return SingleStageSegmenter(
            2, "vit_tiny_patch16_224", image_size=32, backbone_options=small, **options
        )

    images = torch.randn(1, 3, 32, 32)
    assert vit().attention_maps(images).shape[2] == 2
    assert vit(aggregator_options={"num_heads": 4}).attention_maps(images).shape[2] == 4
    with pytest.raises(ValueError, match="aggregator_options: expected none with 'max', got"):
        vit(aggregator="max", aggregator_options={"num_heads": 4})
    message = "aggregator_options: expected none with a Identity module"
    with pytest.raises(ValueError, match=message):
        vit(aggregator=nn.Identity(), aggregator_options={"num_heads": 4})


def test_a_mask_is_refused_by_name() -> None:
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="mask: expected None; resnet18 has no mask token"):
        build()(torch.zeros(1, 3, 64, 64), mask)


def test_a_network_by_name_is_saved_and_loaded(tmp_path: Path) -> None:
    model = build(aggregator="mca", aggregator_options={"num_heads": 2})
    images = torch.randn(1, 3, 64, 64)
    model.save(tmp_path / "model.safetensors", class_names=["a", "b", "c"])
    again = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    assert again.backbone.description == "resnet18"
    for first, second in zip(heads_of(model, images), heads_of(again, images), strict=True):
        assert torch.equal(first, second)


def test_a_module_is_taken_as_it_is_saved_and_loaded_into_one(tmp_path: Path) -> None:
    encoder = FeatureBackbone("resnet18", options=SMALL)
    model, images = build(encoder), torch.randn(1, 3, 64, 64)
    assert model.backbone is encoder
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="was built from a module, FeatureBackbone; give one"):
        SingleStageSegmenter.load(tmp_path / "model.safetensors")
    fresh = FeatureBackbone("resnet18", options=SMALL)
    again = SingleStageSegmenter.load(tmp_path / "model.safetensors", backbone=fresh)
    for first, second in zip(heads_of(model, images), heads_of(again, images), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("kind", [FeatureBackbone, ViTBackbone])
def test_a_backbone_as_module_comes_without_what_belongs_to_a_name(kind: Any) -> None:
    name = "resnet18" if kind is FeatureBackbone else "fsr_scenes_tiny"
    encoder = kind(name, image_size=96)
    assert build(encoder).backbone is encoder
    message = f"backbone_options: expected none with a {kind.__name__} module"
    with pytest.raises(ValueError, match=message):
        build(encoder, backbone_options={"channels": (1, 2)})
    with pytest.raises(ValueError, match=f"pretrained: expected False with a {kind.__name__}"):
        build(encoder, pretrained=True)


def test_weights_reach_the_network_by_name(tmp_path: Path) -> None:
    source = FeatureBackbone("resnet18", options=SMALL)
    torch.save(source.model.state_dict(), tmp_path / "weights.pth")
    model = build(pretrained=tmp_path / "weights.pth")
    assert torch.equal(model.backbone.model.conv1.weight, source.model.conv1.weight)


def test_is_one_graph() -> None:
    assert_compiles(build(), torch.randn(1, 3, 64, 64), atol=1e-4)


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "beit_base_patch16_224"])
def test_other_transformers_are_saved_and_loaded_too(name: str, tmp_path: Path) -> None:
    small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
    model = SingleStageSegmenter(
        2, name, image_size=112, projection_dim=8, backbone_options=small
    ).eval()
    images = torch.randn(1, 3, 112, 224)
    mask = torch.rand(1, *model.backbone.grid(images)) < 0.5
    model.save(tmp_path / "model.safetensors")
    again = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    for first, second in zip(model(images, mask), again(images, mask), strict=True):
        if isinstance(first, Tensor):
            assert torch.equal(first, second)
