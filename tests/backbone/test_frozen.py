"""A frozen encoder: its tokens on any grid, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from fsr.backbone import FrozenEncoder, ViTBackbone
from fsr.errors import ShapeError


def backbone(image_size: int = 64, **changes: Any) -> ViTBackbone:
    torch.manual_seed(7)
    options = {"patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2} | changes
    made = ViTBackbone("vit_tiny_patch16_224", image_size=image_size, options=options)
    made.mean, made.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    return made


def images(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def by_hand(made: ViTBackbone, pixels: torch.Tensor) -> torch.Tensor:
    made = made.eval()
    mean = torch.tensor(made.mean).view(3, 1, 1)
    std = torch.tensor(made.std).view(3, 1, 1)
    with torch.no_grad():
        output = made((pixels - mean) / std)
        tokens: torch.Tensor = made.norm(output.tokens)
    return tokens.transpose(1, 2).unflatten(2, output.grid)


def test_on_its_own_grid_the_tokens_are_those_of_the_backbone() -> None:
    made = backbone(drop_path_rate=0.5)
    encoder = FrozenEncoder(made.train())
    found = encoder(images(), (4, 4))
    assert torch.equal(found, by_hand(made, images()).flatten(2).transpose(1, 2))
    assert not found.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_on_another_grid_they_are_resized() -> None:
    made = backbone()
    found = FrozenEncoder(made)(images(), (8, 6))
    expected = F.interpolate(by_hand(made, images()), (8, 6), mode="bilinear")
    torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(("side", "nearest"), [(64, 70), (62, 56), (63, 70), (5, 14)])
def test_images_go_to_the_nearest_multiple_of_the_patch(side: int, nearest: int) -> None:
    made = backbone(image_size=56, patch_size=14)
    pixels = images(side, 28)
    found = FrozenEncoder(made)(pixels, (nearest // 14, 2))
    scaled = F.interpolate(pixels, (nearest, 28), mode="bilinear") if side != nearest else pixels
    expected = by_hand(made, scaled).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_name_brings_its_weights_at_their_own_size() -> None:
    encoder = FrozenEncoder("fsr_scenes_tiny")
    whole = ViTBackbone("fsr_scenes_tiny", pretrained=True, image_size=96)
    own = encoder.backbone.model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in whole.model.state_dict().items())


def test_double_precision_images_meet_a_float_encoder() -> None:
    encoder = FrozenEncoder(backbone())
    assert encoder(images().double(), (4, 4)).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("vit_tiny_patch16_22",), ValueError, "expected the name of a timm model, .* mean 'vit_"),
        (("fsr_scenes_tiny", "none.pth"), FileNotFoundError, "weights: no file 'none.pth'"),
        ((3,), TypeError, "model: expected a timm name or a ViTBackbone, got int"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FrozenEncoder(*arguments)


def test_a_module_comes_without_weights_and_images_have_their_shape(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights: expected none with a module, got"):
        FrozenEncoder(backbone(), tmp_path / "weights.pth")
    encoder = FrozenEncoder(backbone())
    with pytest.raises(ShapeError, match=r"images: .*channels=3"):
        encoder(torch.zeros(1, 4, 64, 64), (4, 4))
    with pytest.raises(TypeError, match="images: expected a floating-point"):
        encoder(torch.zeros(1, 3, 64, 64).long(), (4, 4))
    with pytest.raises(ValueError, match="grid: expected two positive integers"):
        encoder(images(), (0, 4))
