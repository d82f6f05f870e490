"""Options of the segmenter's parts: used, saved with the weights, refused for built modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fsr.segmenter import SingleStageSegmenter

SMALL = {"embed_dim": 16, "depth": 3, "num_heads": 2}


def build(**options: object) -> SingleStageSegmenter:
    return SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options=SMALL,
        projection_dim=8,
        **options,
    )


def test_options_reach_the_parts_and_survive_saving(tmp_path: Path) -> None:
    model = build(
        projector_options={"hidden_dim": 12, "bottleneck_dim": 6, "num_layers": 2},
        decoder_options={"hidden_dim": 10, "dilation": 2},
    ).eval()
    assert model.decoder.conv1.weight.shape == (10, 16, 3, 3)
    assert model.decoder.conv1.dilation == (2, 2)
    model.save(tmp_path / "model.safetensors")
    again = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    images = torch.randn(1, 3, 32, 32)
    for first, second in zip(model(images), again(images), strict=True):
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, second)


@pytest.mark.parametrize("part", ["projector", "decoder"])
def test_options_for_a_built_module_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match=f"{part}_options: expected none with a Identity module"):
        build(**{part: nn.Identity(), f"{part}_options": {"hidden_dim": 3}})
