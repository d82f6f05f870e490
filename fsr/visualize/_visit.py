"""A visit to the encoder's attention: one forward, each block's weights handed over in passing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_choice
from fsr._core.modes import eval_mode
from fsr._core.numerics import at_least_float32
from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.segmenter import SingleStageSegmenter, check_multi_scale, scaled_size
from fsr.teacher import unwrap

QUERIES = ("all", "patches", "prefix")


def visit_attention(
    backbone: ViTBackbone,
    images: Tensor,
    receive: Callable[[int, Tensor], Any],
    *,
    mask: Tensor | None = None,
    blocks: Sequence[int],
    rows: slice,
) -> None:
    """Run an encoder once and hand over each chosen block's weights as soon as they are there.

    Args:
        backbone: the encoder; gets its modes back, whatever happens.
        images: ``(B, 3, height, width)``, a size that the patch divides.
        receive: called as ``receive(block, weights)`` with weights ``(B, heads, Q, L)`` in the
            order of the forward; parallel attentions of a block stand beside each other as heads.
        mask: ``(B, H, W)`` boolean, True = masked, or None.
        blocks: numbers of the blocks from 0.
        rows: the queries.

    Raises:
        ValueError: a block's attention cannot be recomputed.
    """
    # Compiled blocks would be compiled again for a pass without gradient.
    with torch.no_grad(), eval_mode(backbone), torch.compiler.set_stance("force_eager"):
        backbone.visit_attention(images, receive, mask=mask, blocks=blocks, rows=rows)


def backbone_of(model: nn.Module) -> ViTBackbone:
    """Return the encoder of a network, or raise unless it has attention; wrappers go."""
    network: nn.Module = unwrap(model)
    if isinstance(network, SingleStageSegmenter):
        network = network.backbone
    if isinstance(network, ViTBackbone):
        return network
    if isinstance(network, FeatureBackbone):
        raise ValueError(f"model: {network.description} gives feature maps and has no attention")
    raise TypeError(
        "model: expected a SingleStageSegmenter or a ViTBackbone, got " + type(network).__name__
    )


def query_rows(queries: str, prefix: int) -> slice:
    """Return the rows of an attention that belong to some queries; raise if there are none."""
    check_choice("queries", queries, QUERIES)
    if queries == "prefix" and prefix == 0:
        raise ValueError(
            "queries: expected 'all' or 'patches' where there is no prefix token, got 'prefix'"
        )
    return {"all": slice(None), "patches": slice(prefix, None), "prefix": slice(prefix)}[queries]


def fitted(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """Resize images ``(B, 3, height, width)`` to the nearest size that the patch divides."""
    check_multi_scale(images, patch, (1.0,))
    if images.shape[0] == 0:
        raise ValueError("images: expected at least one image, got none")
    size = (images.shape[2], images.shape[3])
    nearest = scaled_size(size, 1.0, patch)
    if nearest == size:
        return images
    exact = at_least_float32(images)
    return F.interpolate(exact, nearest, mode="bilinear", align_corners=False).to(images.dtype)


def join_blocks(blocks: Sequence[Tensor]) -> Tensor:
    """Join ``(B, heads, ...)`` of blocks: ``(B, blocks, heads, ...)``."""
    counts = [block.shape[1] for block in blocks]
    if len(set(counts)) > 1:
        raise ValueError(f"blocks: expected equally many heads in each, got {counts}")
    return torch.stack(list(blocks), dim=1)
