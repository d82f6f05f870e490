"""Patches classified by a convolution, and images by the rank of their patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_positive_int
from fsr.pooling import global_weighted_ranking
from fsr.segmenter._method_head import HeadInput, MethodHead


class PatchMaps(MethodHead, kind="patch_maps"):
    """Scores of every class at every patch: a 3x3 convolution of the tokens before the norm.

    Args:
        dim: width D of the tokens.
        num_classes: number C of foreground classes.

    Source:
        Xu et al., MCTformer+, TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> PatchMaps(8, num_classes=3).classifier.weight.shape
        torch.Size([3, 8, 3, 3])
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        check_positive_int("num_classes", num_classes)
        self.classifier = nn.Conv2d(dim, num_classes, 3, padding=1)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> PatchMaps:
        """Return the head for an encoder; it has no options."""
        return cls(backbone.embed_dim, num_classes, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return scores, ``(B, C, H, W)``."""
        scores: Tensor = self.classifier(read.as_map(read.raw_tokens))
        return scores


class RankedPatches(MethodHead, kind="ranked_patches"):
    """Class logits of the head ``"patch_maps"``: means that weigh scores by their rank.

    Args:
        decay: weight of a patch over that of the next higher score of its map.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[[1.0, 4.0]]]])
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 2, 4), (1, 2), nn.Identity(), other=lambda name: maps)
        >>> RankedPatches(decay=0.5)(read)
        tensor([[3.]])
    """

    reads = ("patch_maps",)

    def __init__(self, decay: float = 0.996) -> None:
        super().__init__()
        self.decay = decay

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> RankedPatches:
        """Return the head."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class logits, ``(B, C)``."""
        return global_weighted_ranking(read.head("patch_maps"), self.decay)
