"""Two segmenters in one network: a decoder of its encoder, a whole second one, and their mean."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fsr.decoder import LargeFOV
from fsr.segmenter._method_head import HeadInput, MethodHead


class FirstSegmenter(MethodHead, kind="first_segmenter"):
    """A decoder of the network's own encoder, ``(B, C + 1, H, W)``.

    Args:
        decoder: the decoder.

    Example:
        >>> from torch import nn
        >>> read = HeadInput(*torch.zeros(4, 1, 4, 8), (2, 2), nn.Identity())
        >>> FirstSegmenter(LargeFOV(8, 3, hidden_dim=4))(read).shape
        torch.Size([1, 3, 2, 2])
    """

    def __init__(self, decoder: LargeFOV) -> None:
        super().__init__()
        self.decoder = decoder

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> FirstSegmenter:
        """Return the head for an encoder; options are those of :class:`fsr.decoder.LargeFOV`."""
        return cls(LargeFOV(backbone.embed_dim, num_classes + 1, **options))

    def forward(self, read: HeadInput) -> Tensor:
        """Return logits, ``(B, C + 1, H, W)``."""
        logits: Tensor = self.decoder(read.as_map(read.tokens))
        return logits


class SecondSegmenter(MethodHead, kind="second_segmenter"):
    """Another encoder with its decoder, which reads the images itself, ``(B, C + 1, H, W)``.

    The encoder is built as the network's and starts from the same weights, which are then its own;
    it learns at the encoder's rate.

    Args:
        backbone: the second encoder.
        decoder: its decoder.

    Source:
        Rong et al., CVPR 2023 (ShenghaiRong/BECO@6a57bed).

    Example:
        >>> from fsr.backbone import ViTBackbone
        >>> small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
        >>> first = ViTBackbone("vit_tiny_patch16_224", image_size=32, options=small)
        >>> head = SecondSegmenter.build(first, num_classes=2, hidden_dim=4)
        >>> images, tokens = torch.zeros(1, 3, 32, 48), torch.zeros(3, 1, 6, 32)
        >>> read = HeadInput(images, *tokens, (2, 3), first.norm)
        >>> head(read).shape, head.backbone is first
        (torch.Size([1, 3, 2, 3]), False)
    """

    encoders = ("backbone",)

    def __init__(self, backbone: Any, decoder: LargeFOV) -> None:
        super().__init__()
        self.backbone, self.decoder = backbone, decoder

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> SecondSegmenter:
        """Return the head for an encoder; options are those of :class:`fsr.decoder.LargeFOV`."""
        decoder = LargeFOV(backbone.embed_dim, num_classes + 1, **options)
        return cls(copy.deepcopy(backbone), decoder)

    def forward(self, read: HeadInput) -> Tensor:
        """Return logits, ``(B, C + 1, H, W)``."""
        tokens, _, grid = self.backbone(read.images, aux_block=-1)
        maps = self.backbone.norm(tokens).transpose(1, 2).unflatten(2, grid)
        logits: Tensor = self.decoder(maps)
        return logits


class MeanSegmentation(MethodHead, kind="mean_segmentation"):
    """The mean of the logits of other heads, ``(B, C + 1, H, W)``.

    Args:
        of: names of these heads.

    Example:
        >>> from torch import nn
        >>> maps = {"first": torch.zeros(1, 3, 2, 2), "second": torch.ones(1, 3, 2, 2)}
        >>> read = HeadInput(*torch.zeros(4, 1, 4, 8), (2, 2), nn.Identity(), other=maps.get)
        >>> MeanSegmentation(["first", "second"])(read).unique()
        tensor([0.5000])
    """

    def __init__(self, of: Sequence[str]) -> None:
        super().__init__()
        self.reads = tuple(of)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> MeanSegmentation:
        """Return the head; it needs the names of the others."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return logits, ``(B, C + 1, H, W)``."""
        return torch.stack([read.head(name) for name in self.reads]).mean(dim=0)
