"""One pass through an encoder's blocks: masked patches placed, blocks run, what is asked kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fsr._core.checks import check_bool, check_floating, check_shape
from fsr.backbone._attention import attention_of, check_attention
from fsr.backbone._kind import Kind, Placed
from fsr.backbone._output import AttentionForm


class Kept(NamedTuple):
    """What a pass kept.

    Attributes:
        tokens: output of the last block that ran, ``(B, T, D)``.
        blocks: outputs asked for, by block.
    """

    tokens: Tensor
    blocks: dict[int, Tensor]


class Watch(NamedTuple):
    """Whose attention a pass forms, and where it goes as soon as it is there.

    Attributes:
        blocks: blocks, counted from 0.
        receive: called with a block's number and its attention ``(B, heads, Q, T)``.
        form: ``"probabilities"`` or ``"logits"``.
        rows: queries to compute; None computes all T.
    """

    blocks: Sequence[int]
    receive: Callable[[int, Tensor], Any]
    form: AttentionForm = "probabilities"
    rows: slice | None = None


def check_inputs(images: Tensor, mask: Tensor | None, grid: tuple[int, int]) -> None:
    """Raise unless images are floating point and a mask is boolean on their patch grid."""
    check_floating("images", images)
    if mask is not None:
        check_shape("mask", mask, "B H W", B=images.shape[0], H=grid[0], W=grid[1])
        check_bool("mask", mask)


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


def run_blocks(
    kind: Kind, model: Any, placed: Placed, depth: int, kept: Collection[int], watch: Watch
) -> Kept:
    """Run the first blocks of a model on a sequence.

    Args:
        kind: class of the model.
        model: timm's model.
        placed: the sequence before the blocks.
        depth: how many blocks to run.
        kept: blocks whose output to keep, counted from 0.
        watch: whose attention to form.

    Raises:
        ValueError: a block's attention cannot be formed.
    """
    check_attention("attention", {index: model.blocks[index] for index in watch.blocks})
    tokens, position = placed
    outputs: dict[int, Tensor] = {}
    for index in range(depth):
        if index in watch.blocks:
            rope, bias = kind.attention_position(model, index, position)
            block = model.blocks[index]
            rows = watch.rows
            watch.receive(
                index, attention_of(block, tokens, watch.form, rope=rope, bias=bias, rows=rows)
            )
        tokens = _run(kind, model, index, tokens, position)
        if index in kept:
            outputs[index] = tokens
    return Kept(tokens, outputs)


def _run(kind: Kind, model: Any, index: int, tokens: Tensor, position: Any) -> Tensor:
    """Run one block; with gradient checkpointing its inside is computed again when needed."""
    if model.grad_checkpointing and torch.is_grad_enabled():
        again: Tensor = checkpoint(kind.run, model, index, tokens, position, use_reentrant=False)
        return again
    return kind.run(model, index, tokens, position)
