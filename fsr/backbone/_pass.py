"""One pass through an encoder's blocks: masked patches placed, blocks run, what is asked kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fsr.backbone._attention import attention_of
from fsr.backbone._kind import Kind, Placed
from fsr.backbone._output import BackboneRequest


class Kept(NamedTuple):
    """What a pass kept, blocks by their index.

    Attributes:
        tokens: output of the last block that ran, ``(B, T, D)``.
        blocks: outputs asked for.
        attention: attention asked for, ``(B, heads, T, T)``.
    """

    tokens: Tensor
    blocks: dict[int, Tensor]
    attention: dict[int, Tensor]


def place_patches(
    kind: Kind, model: Any, mask_token: Tensor, images: Tensor, mask: Tensor | None
) -> Placed:
    """Return the sequence before the blocks, the mask token in place of masked patches."""
    patches = kind.embed(model, images)
    if mask is None and torch.is_grad_enabled():
        # Without this, DDP would wait for the mask token's gradient after a pass without mask.
        mask = torch.zeros(patches.shape[:3], dtype=torch.bool, device=patches.device)
    if mask is not None:
        token = mask_token.to(patches.dtype).unsqueeze(0)
        patches = torch.where(mask.unsqueeze(-1), token, patches)
    return kind.place(model, patches)


def run_blocks(kind: Kind, model: Any, placed: Placed, depth: int, asked: BackboneRequest) -> Kept:
    """Run the first blocks of a model on a sequence.

    Args:
        kind: class of the model.
        model: timm's model.
        placed: the sequence before the blocks.
        depth: how many blocks to run.
        asked: what to keep, its blocks counted from 0.
    """
    tokens, position = placed
    kept = Kept(tokens, {}, {})
    for index in range(depth):
        if index in asked.attention:
            options = kind.attention_position(model, index, position)
            block = model.blocks[index]
            kept.attention[index] = attention_of(block, tokens, asked.attention_form, **options)
        tokens = _run(kind, model, index, tokens, position)
        if index in asked.blocks:
            kept.blocks[index] = tokens
    return kept._replace(tokens=tokens)


def _run(kind: Kind, model: Any, index: int, tokens: Tensor, position: Any) -> Tensor:
    """Run one block; with gradient checkpointing its inside is computed again when needed."""
    if model.grad_checkpointing and torch.is_grad_enabled():
        again: Tensor = checkpoint(kind.run, model, index, tokens, position, use_reentrant=False)
        return again
    return kind.run(model, index, tokens, position)
