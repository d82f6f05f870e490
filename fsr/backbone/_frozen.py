"""A pretrained encoder that is looked at and never trained; not in the paper."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.models import get_pretrained_cfg
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_grid, check_same_device, check_shape, check_some
from fsr._core.module import TypedModule
from fsr.backbone._pretrained import check_timm_name
from fsr.backbone._vit import ViTBackbone

if TYPE_CHECKING:
    from typing_extensions import Self


class FrozenEncoder(TypedModule):
    """Patch tokens of a frozen encoder for images in [0, 1] of any size, on any patch grid.

    It is always in evaluation mode, and its parameters take no gradient.

    Args:
        model: timm name of a ViT, or a :class:`ViTBackbone`, which is copied.
        weights: path of the weights of a name; None takes timm's.

    Raises:
        ConnectionError: timm's weights are not here and cannot be fetched.
        FileNotFoundError: there is no file at the path.
        TypeError: ``model`` is neither name nor backbone.
        ValueError: the name is unknown, its weights do not fit, or ``weights`` come with a module.

    Example:
        >>> encoder = FrozenEncoder("fsr_scenes_tiny")
        >>> encoder(torch.rand(1, 3, 100, 64), grid=(5, 4)).shape
        torch.Size([1, 20, 128])
    """

    def __init__(self, model: str | ViTBackbone, weights: str | Path | None = None) -> None:
        super().__init__()
        if isinstance(model, ViTBackbone):
            if weights is not None:
                raise ValueError(f"weights: expected none with a module, got {str(weights)!r}")
            self.backbone = copy.deepcopy(model)
        elif isinstance(model, str):
            self.backbone = _pretrained(model, weights)
        else:
            raise TypeError(
                f"model: expected a timm name or a ViTBackbone, got {type(model).__name__}"
            )
        self.backbone.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever ``mode`` says; return the encoder."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the tokens of images, after the final norm.

        Args:
            images: RGB in [0, 1], ``(B, 3, height, width)``; each side is resized to the nearest
                multiple of the encoder's patch.
            grid: patch grid ``(H, W)`` to return; tokens on another are resized bilinearly.

        Returns:
            ``(B, H * W, D)``, row by row, without gradient.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point, or ``grid`` no pair of integers.
            ValueError: ``grid`` is not positive.
        """
        _, _, height, width = check_shape("images", images, "B channels H W", channels=3)
        check_floating("images", images)
        check_some("images", images)
        check_same_device(encoder=self.backbone.mask_token, images=images)
        grid = check_grid("grid", grid)
        backbone = self.backbone
        mean, std = (
            images.new_tensor(value).view(3, 1, 1) for value in (backbone.mean, backbone.std)
        )
        pixels = ((images - mean) / std).to(backbone.mask_token.dtype)
        size = [
            max(int(side / patch + 0.5), 1) * patch
            for side, patch in zip((height, width), backbone.patch_size, strict=True)
        ]
        if size != [height, width]:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        output = backbone(pixels)
        tokens: Tensor = backbone.norm(output.tokens)
        if output.grid == grid:
            return tokens
        maps = tokens.transpose(1, 2).unflatten(2, output.grid)
        maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
        return maps.flatten(2).transpose(1, 2)


def _pretrained(name: str, weights: str | Path | None) -> ViTBackbone:
    """Build a pretrained backbone by name, at the size that its weights were made for."""
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"weights: no file {str(weights)!r}")
    check_timm_name(name)
    config = get_pretrained_cfg(name, allow_unregistered=True)
    # Its position embedding is resized once, to the grid of the images, and not on the way too.
    height, width = (224, 224) if config is None else config.input_size[1:]
    return ViTBackbone(
        name, pretrained=True if weights is None else weights, image_size=(height, width)
    )
