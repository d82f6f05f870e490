"""The heads over the encoder: what the segmenter reads from its tokens."""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor, nn

from fsr._core.checks import check_shape
from fsr.pooling import max_pool
from fsr.projection import project_tokens
from fsr.segmenter._output import Head, SegmenterOutput


def heads_of(
    network: Any, images: Tensor, mask: Tensor | None, wanted: dict[Head, slice]
) -> SegmenterOutput:
    """Encode images and compute the heads asked for, each for its slice of the batch.

    Args:
        network: the segmenter, of which backbone and heads are used.
        images: ``(B, 3, height, width)``.
        mask: ``(B, H, W)`` boolean, True = masked; None masks nothing.
        wanted: slice of the batch by head.
    """
    # No block after the auxiliary one runs, and no norm, if nobody reads the final tokens.
    aux_only = wanted.keys() <= {"aux_tokens", "aux_class_logits"}
    raw, aux_tokens, grid = network.backbone(
        images, mask, aux_block=network.aux_block, aux_only=aux_only
    )
    norm = network.backbone.norm
    tokens = raw if aux_only else norm(raw)

    heads: dict[str, Tensor] = {}
    for name, part in wanted.items():
        if name == "tokens":
            heads[name] = tokens[part]
        elif name == "aux_tokens":
            heads[name] = aux_tokens[part]
        elif name == "class_logits":
            heads[name] = class_logits(network.classifier, tokens[part])
        elif name == "aux_class_logits":
            heads[name] = class_logits(network.aux_classifier, aux_tokens[part])
        elif name == "segmentation":
            heads[name] = segmentation(network, tokens[part], grid)
        else:
            flat = None if mask is None else mask[part].flatten(1)
            aggregated = norm(network.aggregator(raw[part], flat))
            heads[name] = project_tokens(aggregated, tokens[part], network.projector)
    return SegmenterOutput(
        class_logits=heads.get("class_logits"),
        aux_class_logits=heads.get("aux_class_logits"),
        segmentation=heads.get("segmentation"),
        tokens=heads.get("tokens"),
        aux_tokens=heads.get("aux_tokens"),
        projections=heads.get("projections"),
        grid=grid,
    )


def class_logits(classifier: nn.Conv2d, tokens: Tensor) -> Tensor:
    """Logits ``(B, C)`` of a 1x1 convolution on the maximum over tokens ``(B, N, D)``."""
    logits: Tensor = classifier(rearrange(max_pool(tokens), "b d -> b d 1 1"))
    return logits.flatten(1)


def segmentation(network: Any, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Decode final tokens ``(B, N, D)`` into logits ``(B, C + 1, H, W)``."""
    logits: Tensor = network.decoder(rearrange(tokens, "b (h w) d -> b d h w", h=grid[0]))
    check_shape("the decoder's output", logits, "B C H W", C=network.num_classes + 1)
    return logits
