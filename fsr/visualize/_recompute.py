"""Attention weights of timm's blocks, computed again from the attention's input."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import vision_transformer
from torch import Tensor, nn

from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import at_least_float32, no_autocast

# By this path in every timm of the supported range.
Attention: Any = vars(vision_transformer)["Attention"]
ParallelScalingBlock: Any = vision_transformer.ParallelScalingBlock


def recompute_attention(module: nn.Module, tokens: Tensor, *, rows: slice | None = None) -> Tensor:
    r"""Attention weights that a module applies to tokens, :math:`\mathrm{softmax}(s\,q k^\top)`.

    Fused kernels never form these weights. They are formed here from the module's own projections
    and norms of q and k, without the dropout of training; the values v are not touched.

    Args:
        module: timm's ``Attention``, or a ``ParallelScalingBlock``, which is its own attention.
        tokens: what ``module`` is called with, ``(B, L, D)``: prefix tokens, then patches.
        rows: queries to compute; None computes all L.

    Returns:
        Weights ``(B, heads, Q, L)`` of Q queries on all L tokens, in at least float32; every row
        sums to 1.

    Raises:
        ShapeError: ``tokens`` has another shape.
        TypeError: ``tokens`` is not floating point.
        ValueError: ``module`` computes no such attention, as timm's differential attention.

    Source:
        Dosovitskiy et al., ICLR 2021, appendix A; for parallel blocks Dehghani et al., ICML 2023.

    Example:
        >>> module = Attention(8, num_heads=2).eval()
        >>> weights = recompute_attention(module, torch.rand(1, 5, 8))
        >>> weights.shape, bool((weights.sum(3) - 1).abs().max() < 1e-6)
        (torch.Size([1, 2, 5, 5]), True)
    """
    check_shape("tokens", tokens, "B L D")
    check_floating("tokens", tokens)
    q, k, scale = _attention_inputs(module, tokens)
    if rows is not None:
        q = q[:, :, rows]
    # Half-precision weights would not sum to 1.
    with no_autocast(tokens):
        logits = (at_least_float32(q) * scale) @ at_least_float32(k).transpose(2, 3)
        return logits.softmax(dim=3)


def attention_modules(block: nn.Module, index: int) -> list[nn.Module]:
    """Return the modules of a block whose input makes its attention; several where parallel.

    Args:
        block: block of a timm ViT.
        index: its number, for the message.

    Raises:
        ValueError: the block has no attention that can be computed again.

    Example:
        >>> block = vision_transformer.Block(8, num_heads=2)
        >>> attention_modules(block, 0) == [block.attn]
        True
    """
    found = [module for module in block.modules() if _is_known(module)]
    if found:
        return found
    kinds = {type(module).__name__ for module in block.modules() if hasattr(module, "num_heads")}
    raise ValueError(
        "blocks: expected blocks with timm's Attention or ParallelScalingBlock, "
        f"got block {index}, {type(block).__name__} with {', '.join(sorted(kinds)) or 'none'}: "
        "its weights cannot be recomputed"
    )


def _is_known(module: nn.Module) -> bool:
    """Whether a module forms its weights as timm's attention does, subclasses included."""
    return any(
        isinstance(module, kind) and type(module).forward is kind.forward
        for kind in (Attention, ParallelScalingBlock)
    )


def _attention_inputs(module: Any, tokens: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return q and k of every head, ``(B, heads, L, d)``, and the factor of their products."""
    if not _is_known(module):
        raise ValueError(
            "module: expected timm's Attention or ParallelScalingBlock, "
            f"got {type(module).__name__}: its weights cannot be recomputed"
        )
    batch, length, _ = tokens.shape
    if isinstance(module, Attention):
        heads = (module.num_heads, module.head_dim)
        q, k, _ = module.qkv(tokens).reshape(batch, length, 3, *heads).transpose(1, 3).unbind(2)
    else:
        projected = module.in_proj(module.in_norm(tokens))
        if getattr(module, "qkv_bias", None) is not None:
            # Older timm, whose order of the biases is not that of the split below.
            projected = projected + torch.cat((module.qkv_bias, module.mlp_bias))
        _, q, k, _ = torch.split(projected, module.in_split, dim=-1)
        shape = (batch, length, module.num_heads, module.head_dim)
        q, k = (x.reshape(shape).transpose(1, 2) for x in (q, k))
    return module.q_norm(q), module.k_norm(k), float(module.scale)
