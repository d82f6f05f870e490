"""What class tokens, one per class, say of an image and of its patches."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fsr._core.checks import check_positive_int
from fsr.attention import class_attention_maps, fuse_maps, patch_affinity, refine_maps
from fsr.backbone import BackboneRequest
from fsr.segmenter._method_head import HeadInput, MethodHead


class ClassTokenMeans(MethodHead, kind="class_token_means"):
    """Class logits: the mean over channels of each class's token of the last block, not normed.

    Source:
        Xu et al., MCTformer, CVPR 2022 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> from torch import nn
        >>> tokens = torch.tensor([[[1.0, 3.0], [0.0, -2.0]]])
        >>> read = HeadInput(*torch.zeros(4, 1, 9, 2), (3, 3), nn.Identity(), tokens)
        >>> ClassTokenMeans()(read)
        tensor([[ 2., -1.]])
    """

    request = BackboneRequest(prefix_tokens=True)
    offers: ClassVar[frozenset[str]] = frozenset({"class_tokens"})

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassTokenMeans:
        """Return the head; it has no options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class logits, ``(B, C)``."""
        if read.prefix_tokens is None:
            raise ValueError("prefix_tokens: expected those of the encoder, got None")
        return read.prefix_tokens.mean(dim=2)


class ClassTokens(MethodHead, kind="class_tokens"):
    """The class tokens that the last blocks give, ``(B, L, C, D)``.

    Args:
        num_classes: number C of class tokens.
        depth: blocks of the encoder.
        blocks: how many of the last ones, L; None takes all.

    Raises:
        ValueError: there are not so many blocks.

    Example:
        >>> ClassTokens(num_classes=3, depth=12, blocks=2).request.blocks
        (10, 11)
    """

    offers: ClassVar[frozenset[str]] = frozenset({"class_tokens", "blocks"})

    def __init__(self, num_classes: int, depth: int, blocks: int | None = None) -> None:
        super().__init__()
        check_positive_int("num_classes", num_classes)
        check_positive_int("depth", depth)
        self.num_classes = num_classes
        self.request = BackboneRequest(blocks=_last(blocks, depth))

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassTokens:
        """Return the head for an encoder."""
        return cls(num_classes, backbone.depth, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the tokens, ``(B, L, C, D)``."""
        return torch.stack([block[:, : self.num_classes] for block in read.block_tokens], dim=1)


class ClassAttention(MethodHead, kind="class_attention"):
    """Attention of class tokens to patches, fused with the head ``"patch_maps"`` and refined.

    Args:
        num_classes: number C of class tokens.
        depth: blocks of the encoder, whose attention between patches refines the maps.
        blocks: last blocks whose class attention counts; None takes all.

    Raises:
        ValueError: there are not so many blocks.

    Source:
        Xu et al., MCTformer+, TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> ClassAttention(num_classes=3, depth=4).blocks
        4
    """

    offers: ClassVar[frozenset[str]] = frozenset({"class_tokens", "attention"})
    reads = ("patch_maps",)

    def __init__(self, num_classes: int, depth: int, blocks: int | None = None) -> None:
        super().__init__()
        check_positive_int("num_classes", num_classes)
        check_positive_int("depth", depth)
        self.num_classes = num_classes
        self.blocks = len(_last(blocks, depth))
        self.request = BackboneRequest(attention=_last(None, depth))

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassAttention:
        """Return the head for an encoder."""
        return cls(num_classes, backbone.depth, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return maps, ``(B, C, H, W)``."""
        attention = read.attention
        maps = class_attention_maps(attention, self.num_classes, read.grid, self.blocks)
        maps = fuse_maps(maps, read.head("patch_maps"))
        return refine_maps(maps, patch_affinity(attention, self.num_classes))


def _last(blocks: int | None, depth: int) -> tuple[int, ...]:
    """Return the numbers of the last blocks of an encoder, counted from 0."""
    if blocks is not None:
        check_positive_int("blocks", blocks)
    count = depth if blocks is None else blocks
    if not 1 <= count <= depth:
        raise ValueError(f"blocks: expected 1 to the encoder's {depth}, or None, got {blocks}")
    return tuple(range(depth - count, depth))
