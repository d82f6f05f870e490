"""Attention of timm's blocks, formed from the block's input, with gradient.

Fused kernels never form the weights. Here queries and keys are computed once more from a block's
own projections, norms and rotations, so that the pass itself stays on the fused kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

import torch
from timm.models import beit, eva, vision_transformer
from torch import Tensor, nn

from fsr._core.arguments import check_number
from fsr._core.checks import (
    check_choice,
    check_floating,
    check_same_device,
    check_same_type,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.backbone._output import AttentionForm
from fsr.backbone._queries import ParallelScalingBlock, is_attention, query_key


class Attending(NamedTuple):
    """One attention of a block.

    Attributes:
        module: timm's attention module.
        tokens: what it is called with, ``(B, T, D)``.
    """

    module: Any
    tokens: Tensor


def attention_of(
    block: nn.Module,
    tokens: Tensor,
    form: AttentionForm = "probabilities",
    *,
    rope: Tensor | None = None,
    bias: Tensor | None = None,
    rows: slice | None = None,
) -> Tensor:
    r"""Attention of a block, :math:`\mathrm{softmax}(s\,q k^\top + b)` or :math:`q k^\top`.

    Args:
        block: block of a supported encoder.
        tokens: the block's input, ``(B, T, D)``.
        form: ``"probabilities"`` or ``"logits"``, without scale s, bias b and softmax.
        rope: rotation of the patches' queries and keys, or None.
        bias: b, position bias ``(1, heads, T, T)``, or None.
        rows: queries to compute; None computes all T.

    Returns:
        ``(B, heads, Q, T)`` of Q queries in at least float32; parallel attentions beside each
        other as heads.

    Raises:
        ValueError: the block's attention cannot be formed.

    Example:
        >>> block = vision_transformer.Block(8, num_heads=2)
        >>> attention_of(block, torch.rand(1, 5, 8)).sum(3).shape
        torch.Size([1, 2, 5])
    """
    found = []
    for module, inputs in attending(block, tokens):
        q, k = query_key(module, inputs, rope)
        found.append(weights_of(q, k, float(module.scale), form, bias=bias, rows=rows))
    return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def weights_of(
    q: Tensor,
    k: Tensor,
    scale: float,
    form: AttentionForm = "probabilities",
    *,
    bias: Tensor | None = None,
    rows: slice | None = None,
) -> Tensor:
    """Attention of queries on keys, or their products alone, in at least float32.

    Args:
        q: queries of every head, ``(B, heads, T, d)``.
        k: keys, likewise.
        scale: factor of their products.
        form: ``"probabilities"``, or ``"logits"``, without scale, bias and softmax.
        bias: position bias ``(1, heads, T, T)``, or None.
        rows: queries to compute; None computes all T.

    Returns:
        ``(B, heads, Q, T)`` of Q queries.

    Example:
        >>> weights_of(torch.zeros(1, 2, 4, 3), torch.zeros(1, 2, 4, 3), 0.5).unique()
        tensor([0.2500])
    """
    batch, heads, _, width = check_shape("q", q, "B heads Q d")
    check_shape("k", k, "B heads T d", B=batch, heads=heads, d=width)
    check_same_device(q=q, k=k, bias=bias)
    check_floating("q", q)
    check_floating("k", k)
    check_same_type(q=at_least_float32(q), k=at_least_float32(k))
    check_number("scale", scale)
    check_choice("form", form, get_args(AttentionForm))
    if rows is not None:
        q, bias = q[:, :, rows], None if bias is None else bias[:, :, rows]
    # Half-precision weights would not sum to 1.
    with no_autocast(q):
        q, k = at_least_float32(q), at_least_float32(k)
        if form == "logits":
            return q @ k.transpose(2, 3)
        logits = (q * scale) @ k.transpose(2, 3)
        if bias is not None:
            logits = logits + bias
        return logits.softmax(dim=3)


def attending(block: Any, tokens: Tensor) -> list[Attending]:
    """Return the attentions of a block with what each is called with.

    Args:
        block: block of a supported encoder.
        tokens: the block's input, ``(B, T, D)``.

    Raises:
        ValueError: the block's attention cannot be formed.
    """
    check_attention("block", {0: block})
    found = _attention_modules(block) or []
    return [Attending(module, norm(tokens)) for module, norm in found]


def check_attention(name: str, blocks: Mapping[int, nn.Module]) -> None:
    """Raise unless the attention of every block can be formed.

    Args:
        name: the argument that asks for it, for the message.
        blocks: blocks by their number.

    Raises:
        ValueError: one's attention cannot be formed, as timm's differential attention.
    """
    for index, block in blocks.items():
        if _attention_modules(block) is None:
            kinds = {type(each).__name__ for each in block.modules() if hasattr(each, "num_heads")}
            raise ValueError(
                f"{name}: expected blocks with timm's Attention, EvaAttention, AttentionRope or "
                f"ParallelScalingBlock, got block {index}, {type(block).__name__} with "
                f"{', '.join(sorted(kinds)) or 'none'}: its weights cannot be recomputed"
            )


def has_attention(block: nn.Module) -> bool:
    """Whether a block's attention can be formed.

    Example:
        >>> has_attention(vision_transformer.Block(8, num_heads=2)), has_attention(nn.Identity())
        (True, False)
    """
    return _attention_modules(block) is not None


Norm = Callable[[Tensor], Tensor]


def _same(tokens: Tensor) -> Tensor:
    """Return tokens as they are: the input of an attention without a norm before it."""
    return tokens


def _attention_modules(block: Any) -> list[tuple[nn.Module, Norm]] | None:
    """Return a block's attentions, each with the norm before it; None if one is not known."""
    for kind, modules_of in _BLOCKS:
        if type(block).forward is kind.forward:
            found = modules_of(block)
            return found if all(is_attention(module) for module, _ in found) else None
    return None


_BLOCKS: tuple[tuple[Any, Callable[[Any], list[tuple[nn.Module, Norm]]]], ...] = (
    (vision_transformer.Block, lambda block: [(block.attn, block.norm1)]),
    (vision_transformer.ResPostBlock, lambda block: [(block.attn, _same)]),
    (ParallelScalingBlock, lambda block: [(block, _same)]),
    (
        vision_transformer.ParallelThingsBlock,
        lambda block: [(branch.attn, branch.norm) for branch in block.attns],
    ),
    (eva.EvaBlock, lambda block: [(block.attn, block.norm1)]),
    (eva.EvaBlockPostNorm, lambda block: [(block.attn, _same)]),
    (vars(beit)["Block"], lambda block: [(block.attn, block.norm1)]),
)
