"""Attention of the encoder's blocks, recomputed for the blocks that one asks for (Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from fsr.visualize._visit import (
    backbone_of,
    fitted,
    join_blocks,
    query_rows,
    visit_attention,
)


class EncoderAttention(NamedTuple):
    """Attention weights of some blocks of the encoder.

    Attributes:
        weights: share of every token in every query, ``(B, blocks, heads, Q, L)``; rows sum to 1.
        grid: patch grid ``(H, W)``; the last H * W of the L tokens are the patches, row by row.
        prefix: number of class, distillation and register tokens, the first of the L tokens.
    """

    weights: Tensor
    grid: tuple[int, int]
    prefix: int

    def maps(self, query: int = 0) -> Tensor:
        """Return one query's attention to the patches as maps, ``(B, blocks, heads, H, W)``.

        Args:
            query: place among the Q queries; negative counts from the end.

        Returns:
            Weights as they are: a map sums to 1 less what the prefix tokens get.

        Raises:
            TypeError: ``query`` is no integer.
            ValueError: there is no such query.
        """
        count = self.weights.shape[3]
        _check_indices("query", (query,), count, "queries")
        patches = self.weights[:, :, :, query, self.prefix :]
        return patches.reshape(*patches.shape[:3], *self.grid)


def encoder_attention(
    model: nn.Module,
    images: Tensor,
    mask: Tensor | None = None,
    *,
    blocks: Sequence[int] = (-1,),
    queries: str = "all",
) -> EncoderAttention:
    """Attention of chosen blocks of the encoder, for maps as those of Fig. 5.

    Runs the encoder once, without gradient and in eval mode, which it restores. The weights are
    recomputed from the chosen blocks' inputs; the forward itself keeps its fused
    attention. Parallel attentions of one block stand beside each other as further heads.

    The class token's maps are ``encoder_attention(model, images, queries="prefix").maps(0)``. For
    those of the aggregated token, which Fig. 5 (bottom) shows, see
    :meth:`fsr.segmenter.SingleStageSegmenter.attention_maps`.

    Args:
        model: a :class:`fsr.segmenter.SingleStageSegmenter` or a :class:`fsr.backbone.ViTBackbone`.
        images: ``(B, 3, height, width)`` of any size of at least one patch, normalised; resized to
            the nearest size that the patch divides.
        mask: ``(B, H, W)`` boolean on the grid of that size, True = masked; None masks nothing.
        blocks: numbers of the blocks; negative counts from the end.
        queries: ``"all"`` tokens, the ``"patches"``, or the ``"prefix"``: the class token first,
            then distillation and register tokens.

    Returns:
        Weights ``(B, blocks, heads, Q, L)`` in at least float32, of Q queries on L = prefix + N
        tokens, the patch grid, and the number of prefix tokens.

    Raises:
        ShapeError: ``images`` or ``mask`` has the wrong shape.
        TypeError: ``model`` is neither, a tensor has the wrong type, or ``blocks`` are no integers.
        ValueError: there is no image, block or query of the kind, the images are smaller than a
            patch, a block's attention cannot be recomputed, or the blocks' head counts differ.

    Source:
        Fig. 5 (bottom) and the section "Analysis of Feature Self-reinforcement" (b).

    Example:
        >>> import torch
        >>> from fsr.backbone import ViTBackbone
        >>> small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
        >>> encoder = ViTBackbone("vit_tiny_patch16_224", image_size=64, options=small)
        >>> attention = encoder_attention(
        ...     encoder, torch.rand(1, 3, 40, 48), blocks=(0, -1), queries="prefix")
        >>> attention.weights.shape, attention.grid, attention.prefix
        (torch.Size([1, 2, 2, 1, 10]), (3, 3), 1)
        >>> attention.maps(0).shape
        torch.Size([1, 2, 2, 3, 3])
    """
    backbone = backbone_of(model)
    _check_indices("blocks", blocks, backbone.depth, "blocks")
    chosen = [block % backbone.depth for block in blocks]
    rows = query_rows(queries, int(backbone.model.num_prefix_tokens))
    images = fitted(images, backbone.patch_size)
    found: dict[int, Tensor] = {}
    visit_attention(
        backbone,
        images,
        found.__setitem__,
        mask=mask,
        blocks=chosen,
        rows=rows,
    )
    return EncoderAttention(
        join_blocks([found[block] for block in chosen]),
        backbone.grid(images),
        int(backbone.model.num_prefix_tokens),
    )


def _check_indices(name: str, indices: Any, count: int, what: str) -> None:
    """Raise unless a sequence holds indices of something of which there are so many."""
    if not isinstance(indices, Sequence) or isinstance(indices, str):
        raise TypeError(f"{name}: expected a sequence of integers, got {indices!r}")
    if not indices:
        raise ValueError(f"{name}: expected at least one, got none")
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"{name}: expected an integer, got {index!r}")
        if not -count <= index < count:
            raise ValueError(
                f"{name}: expected -{count} to {count - 1} for {count} {what}, got {index}"
            )
