"""One pass through an encoder's blocks: masked patches placed, blocks run, what is asked kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fsr._core.checks import check_bool, check_floating, check_same_device, check_shape, check_some
from fsr._core.numerics import like_weights
from fsr._core.values import readable
from fsr.backbone._attention import attention_of, check_attention
from fsr.backbone._kind import Kind, Placed
from fsr.backbone._output import AttentionForm, BackboneReading, BackboneRequest


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


def checked_inputs(
    images: Tensor, mask: Tensor | None, grid: tuple[int, int], weight: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return images in the type of the weights and a mask on their patch grid, or raise.

    Raises:
        ShapeError: there is no image, or the mask has another shape.
        TypeError: the images are not floating point, or the mask is not boolean.
        ValueError: a tensor is on another device than the weights, or an image not finite.
    """
    check_some("images", images)
    check_floating("images", images, finite=False)
    images = like_weights("images", images, weight)
    if mask is None:
        check_floating("images", images)
        return images, None
    check_shape("mask", mask, "B H W", B=images.shape[0], H=grid[0], W=grid[1])
    check_bool("mask", mask)
    check_same_device(images=images, mask=mask)
    if readable(images):
        # What is masked may hold anything, as it is never read.
        hidden = mask.repeat_interleave(images.shape[2] // grid[0], dim=1)
        hidden = hidden.repeat_interleave(images.shape[3] // grid[1], dim=2)
        check_floating("images", images.masked_fill(hidden[:, None], 0.0))
    # Patches take the mask's layout, which timm's blocks cannot view as another.
    return images, mask.contiguous()


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
    blocks = list(model.blocks)[:depth]
    check_attention("attention", {index: blocks[index] for index in watch.blocks})
    tokens = placed.tokens
    again = model.grad_checkpointing and torch.is_grad_enabled()
    outputs: dict[int, Tensor] = {}
    for index, block in enumerate(blocks):
        position = kind.position_at(index, placed.position)
        if index in watch.blocks:
            rope, bias = kind.attention_position(block, position)
            watch.receive(
                index,
                attention_of(block, tokens, watch.form, rope=rope, bias=bias, rows=watch.rows),
            )
        if again:  # Keep the block's input alone, and compute its inside in the backward pass.
            tokens = checkpoint(kind.run, block, tokens, position, use_reentrant=False)
        else:
            tokens = kind.run(block, tokens, position)
        if index in kept:
            outputs[index] = tokens
    return Kept(tokens, outputs)


def reading_of(
    kept: Kept,
    asked: BackboneRequest,
    attention: Mapping[int, Tensor],
    aux_index: int,
    grid: tuple[int, int],
) -> BackboneReading:
    """Return what was asked of a pass, patches apart from the prefix tokens before them.

    Args:
        kept: what the pass kept.
        asked: the request, its blocks counted from 0.
        attention: attention by block.
        aux_index: the auxiliary block.
        grid: patch grid.
    """
    count = grid[0] * grid[1]
    return BackboneReading(
        kept.tokens[:, -count:],
        kept.blocks[aux_index][:, -count:],
        grid,
        kept.tokens[:, :-count] if asked.prefix_tokens else None,
        tuple(kept.blocks[index] for index in asked.blocks),
        tuple(attention[index] for index in asked.attention),
    )
