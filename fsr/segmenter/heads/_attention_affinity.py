"""Affinity of patches from the attention of the last blocks, as a head."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fsr._core.checks import check_positive_int
from fsr.affinity import AttentionAffinity
from fsr.backbone import BackboneRequest
from fsr.segmenter._method_head import HeadInput, MethodHead


class AttentionAffinityHead(MethodHead, kind="attention_affinity"):
    """Affinity of every pair of patches, ``(B, N, N)`` between 0 and 1.

    Reads products of queries and keys of the last blocks' heads, without the rows and columns of
    class and register tokens.

    Args:
        num_heads: attention heads of a block.
        blocks: number of last blocks.

    Attributes:
        affinity: the :class:`fsr.affinity.AttentionAffinity` over all their maps.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> from torch import nn
        >>> logits = torch.zeros(1, 3, 5, 5)  # three heads, a class token before 2 x 2 patches
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 4, 6), (2, 2), nn.Identity(), attention=(logits, logits))
        >>> AttentionAffinityHead(num_heads=3, blocks=2)(read).shape
        torch.Size([1, 4, 4])
    """

    offers: ClassVar[frozenset[str]] = frozenset({"attention"})

    def __init__(self, num_heads: int, blocks: int = 2) -> None:
        super().__init__()
        check_positive_int("num_heads", num_heads)
        check_positive_int("blocks", blocks)
        self.request = BackboneRequest(attention=tuple(range(-blocks, 0)), attention_form="logits")
        self.affinity = AttentionAffinity(num_heads * blocks)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> AttentionAffinityHead:
        """Return the head for an encoder.

        Raises:
            ValueError: the encoder has fewer blocks.
        """
        blocks = options.get("blocks", 2)
        if isinstance(blocks, int) and blocks > backbone.depth:
            raise ValueError(
                f"blocks: expected at most the encoder's {backbone.depth} blocks, got {blocks}"
            )
        return cls(backbone.num_heads, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the affinity of all pairs of patches, ``(B, N, N)``."""
        count = read.grid[0] * read.grid[1]
        patches = [logits[:, :, -count:, -count:] for logits in read.attention]
        affinity: Tensor = self.affinity(torch.cat(patches, dim=1))
        return affinity
