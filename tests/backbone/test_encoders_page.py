"""The names that the page of encoders lists: each is what the page says, and works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from torch import Tensor, nn

from fsr.backbone import FeatureBackbone, ViTBackbone
from tests.backbone.classes import SMALL, randomised

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
# Files of timm whose every model is taken, and the prefixes of names that need more options.
FILES = ("vision_transformer", "deit", "eva", "beit")
DIFFERENTIAL = ("vit_dlittle", "vit_dpwee", "vit_dwee")
# Older timm computes its rates of stochastic depth with tensors, which takes values.
META = hasattr(timm.layers, "calculate_drop_path_rates")


class Row(NamedTuple):
    name: str
    kind: str
    prefix: tuple[str, ...]


def rows() -> list[Row]:
    found = []
    table = PAGE.read_text().partition("| family |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        _, names, kind, prefix = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(.+?)`", names):
            found.append(Row(name, kind.strip("`"), _tokens(prefix)))
    return found


def _tokens(cell: str) -> tuple[str, ...]:
    names: list[str] = []
    for part in [] if cell == "none" else cell.split(", "):
        count, _, name = part.rpartition(" ")
        names += [name.removesuffix("s")] * int(count) if count else [name]
    return tuple(names)


ROWS = rows()
TRANSFORMERS = [row for row in ROWS if row.kind != "stages"]
STAGES = [row for row in ROWS if row.kind == "stages"]


def test_the_table_is_read() -> None:
    assert len(TRANSFORMERS) > 45
    assert len(STAGES) > 10
    assert {row.kind for row in TRANSFORMERS} == {
        "VisionTransformer", "VisionTransformerDistilled", "Eva", "Beit",
    }  # fmt: skip
    assert _tokens("class, 4 registers") == ("class", *["register"] * 4)


def _small(row: Row) -> tuple[dict[str, Any], int]:
    """Options that make a network small, and an image size of 3 patches."""
    if row.name == "fsr_scenes_tiny":
        return {"depth": 2}, 24
    patch = timm.create_model(row.name, **SMALL).patch_embed.patch_size[0]
    return dict(SMALL), 3 * int(patch)


@pytest.mark.parametrize("row", TRANSFORMERS, ids=lambda row: row.name)
def test_a_small_network_of_the_name_gives_timms_tokens(row: Row) -> None:
    if not timm.is_model(row.name):
        pytest.skip("this timm lacks it")
    options, size = _small(row)
    backbone = randomised(ViTBackbone(row.name, image_size=size, options=options)).eval()
    assert backbone.description == row.kind
    assert backbone.prefix_names == row.prefix
    assert {"mask_token", "attention"} <= backbone.offers
    model: Any = timm.create_model(row.name, num_classes=0, img_size=size, **options).eval()
    model.load_state_dict(backbone.model.state_dict(), strict=False)
    images = torch.randn(1, 3, size, size)
    tokens: Tensor = backbone(images).tokens
    if not isinstance(model.norm, nn.Identity):
        tokens = backbone.norm(tokens)
    torch.testing.assert_close(tokens, model.forward_features(images)[:, len(row.prefix) :])
    assert backbone(torch.randn(1, 3, size, 2 * size)).grid == (3, 6)


@pytest.mark.parametrize("row", STAGES, ids=lambda row: row.name)
def test_a_network_of_stages_gives_tokens_of_its_last_stage(row: Row) -> None:
    if not timm.is_model(row.name):
        pytest.skip("this timm lacks it")
    with torch.device("meta" if META else "cpu"), torch.no_grad():
        backbone = FeatureBackbone(row.name, image_size=256).eval()
        output = backbone(torch.zeros(1, 3, 256, 256))
    assert backbone.prefix_names == row.prefix == ()
    assert output.grid == (8, 8)
    assert output.tokens.shape == (1, 64, backbone.embed_dim)


@pytest.mark.slow
@pytest.mark.skipif(not META, reason="this timm builds no model without memory")
@pytest.mark.parametrize("file", FILES)
def test_every_model_of_timms_files_is_taken(file: str) -> None:
    lacking = set()
    for name in timm.list_models(module=file):
        options = {} if "sapiens2" in name else {"depth": 2}
        with torch.device("meta"):
            backbone = ViTBackbone(name, image_size=224, options=options)
        assert "mask_token" in backbone.offers
        if "attention" not in backbone.offers:
            lacking.add(name)
    assert all(name.startswith(DIFFERENTIAL) for name in lacking)
