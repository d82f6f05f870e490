"""SEAM's maps: those of the classifier, and the same revised by pixels that look alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_between, check_positive_int
from fsr.backbone import BackboneRequest
from fsr.cam import seam_normalize
from fsr.refine import PixelCorrelation
from fsr.segmenter._method_head import HeadInput, MethodHead

# Channels that the features of both layers are brought to.
WIDTHS = (64, 128)


class CAMWithBackground(MethodHead, kind="cam_with_background"):
    """Raw scores of the network's classifier at every cell, background first, ``(B, C + 1, H, W)``.

    The background channel is 0. SEAM's classifier has a channel for it too, which neither a loss
    nor a map ever reads: wherever the background counts, it is 1 less the strongest class.

    Args:
        dropout: share of the features' channels that are left out in training.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> read = HeadInput(
        ...     *torch.ones(4, 1, 6, 4), (2, 3), nn.Identity(), classifier=nn.Conv2d(4, 5, 1))
        >>> CAMWithBackground()(read).shape
        torch.Size([1, 6, 2, 3])
    """

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        check_between("dropout", dropout, 0.0, 1.0)
        self.dropout = nn.Dropout2d(dropout)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> CAMWithBackground:
        """Return the head; it has no weights of its own."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return raw scores, ``(B, C + 1, H, W)``."""
        if read.classifier is None:
            raise ValueError("classifier: expected that of the network, got None")
        scores: Tensor = read.classifier(self.dropout(read.as_map(read.tokens)))
        return F.pad(scores, (0, 0, 0, 0, 1, 0))


class RevisedCAM(MethodHead, kind="pixel_correlation"):
    """The maps of the head ``"cam"``, every pixel a mean of those that look like it.

    Pixels are compared by the image and by two earlier layers, which get no gradient from it: each
    is averaged over the grid of the maps and brought to 64 and 128 channels by a 1x1 convolution
    and ReLU.

    Args:
        widths: channels of the two layers.
        layers: their numbers, stages of a network of feature maps or blocks of a transformer.
        dim: width of the features that are compared.
        blocks: whether the layers are blocks.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> head = RevisedCAM((16, 32), (-3, -2), dim=8)
        >>> stages = torch.rand(1, 16, 8, 8), torch.rand(1, 32, 4, 4), torch.rand(1, 64, 2, 2)
        >>> read = HeadInput(torch.rand(1, 3, 32, 32), *torch.ones(3, 1, 4, 64), (2, 2),
        ...     nn.Identity(), stages=stages, other=lambda name: torch.rand(1, 6, 2, 2))
        >>> head(read).shape
        torch.Size([1, 6, 2, 2])
    """

    reads = ("cam",)

    def __init__(
        self,
        widths: Sequence[int],
        layers: Sequence[int] = (-3, -2),
        dim: int = 192,
        *,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        if len(widths) != 2 or len(layers) != 2:
            raise ValueError(f"layers: expected two, got {list(layers)}")
        self.layers = tuple(layers)
        if blocks:
            self.request = BackboneRequest(blocks=self.layers)
        else:
            self.request = BackboneRequest(stages=True)
        pairs = zip(widths, WIDTHS, strict=True)
        projections = [nn.Conv2d(one, two, 1, bias=False) for one, two in pairs]
        for projection in projections:
            nn.init.kaiming_normal_(projection.weight)
        self.projections = nn.ModuleList(projections)
        self.correlation = PixelCorrelation(3 + sum(WIDTHS), dim)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> RevisedCAM:
        """Return the head for an encoder: over its blocks if it has those, else over its stages."""
        layers = tuple(options.get("layers", (-3, -2)))
        widths = [backbone.width(layer) for layer in layers]
        return cls(widths, **options, blocks="blocks" in backbone.offers)

    def forward(self, read: HeadInput) -> Tensor:
        """Return revised maps, ``(B, C + 1, H, W)``."""
        cam = read.head("cam")
        size = (cam.shape[2], cam.shape[3])
        image = F.interpolate(read.images, size, mode="bilinear", align_corners=True)
        layers = zip(self.projections, self._layers(read), strict=True)
        earlier = [F.relu(project(_averaged(maps.detach(), size))) for project, maps in layers]
        revised: Tensor = self.correlation(seam_normalize(cam), torch.cat([image, *earlier], dim=1))
        return revised

    def _layers(self, read: HeadInput) -> list[Tensor]:
        """Return the maps of both layers."""
        if self.request.blocks:
            count = read.grid[0] * read.grid[1]
            return [read.as_map(tokens[:, -count:]) for tokens in read.block_tokens]
        return [read.stages[layer] for layer in self.layers]


def _averaged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps averaged over the cells of a grid."""
    return maps if tuple(maps.shape[2:]) == size else F.adaptive_avg_pool2d(maps, size)
