"""Queries and keys of timm's attention modules, as their products take them."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models import beit, eva, vision_transformer
from torch import Tensor, nn

# By these paths in every timm of the supported range.
Attention: Any = vars(vision_transformer)["Attention"]
ParallelScalingBlock: Any = vision_transformer.ParallelScalingBlock
BeitAttention: Any = vars(beit)["Attention"]
# Grouped queries came to Eva after the oldest timm supported.
ROTARY = tuple(vars(eva)[name] for name in ("EvaAttention", "AttentionRope") if name in vars(eva))


def query_key(module: Any, tokens: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Queries and keys of every head as the products take them, ``(B, heads, T, d)`` each.

    Args:
        module: one of timm's attention modules, or a ``ParallelScalingBlock``.
        tokens: what it is called with, ``(B, T, D)``.
        rope: rotation of the patches, or None.

    Returns:
        Queries and keys after their norms and rotations.

    Example:
        >>> q, k = query_key(Attention(8, num_heads=2), torch.rand(1, 5, 8))
        >>> q.shape == k.shape == (1, 2, 5, 4)
        True
    """
    if isinstance(module, ParallelScalingBlock):
        return _parallel_scaling(module, tokens)
    q, k = _projected(module, tokens)
    q, k = (getattr(module, norm, nn.Identity())(x) for norm, x in (("q_norm", q), ("k_norm", k)))
    if rope is not None:
        q, k = _rotated(module, q, rope), _rotated(module, k, rope)
    # With grouped queries, neighbouring heads share their key.
    groups = q.shape[1] // k.shape[1]
    return q, k if groups == 1 else k.repeat_interleave(groups, dim=1)


def is_attention(module: nn.Module) -> bool:
    """Whether a module forms its weights as one of timm's known attentions, subclasses included."""
    for kind in (Attention, ParallelScalingBlock, BeitAttention, *ROTARY):
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return True
    return False


def _projected(module: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return queries and keys after their projection."""
    if module.qkv is None:
        pair = (module.q_proj(tokens), module.k_proj(tokens))
        width = pair[0].shape[2] // module.num_heads
        q, k = (x.unflatten(2, (-1, width)).transpose(1, 2) for x in pair)
        return q, k
    projected = module.qkv(tokens)
    if getattr(module, "q_bias", None) is not None:
        projected = projected + torch.cat((module.q_bias, module.k_bias, module.v_bias))
    q, k, _ = projected.unflatten(2, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k


def _rotated(module: Any, x: Tensor, rope: Tensor) -> Tensor:
    """Rotate the patches' part of queries or keys ``(B, heads, T, d)``; prefix tokens stay."""
    prefix = module.num_prefix_tokens
    options = {"half": True} if getattr(module, "rotate_half", False) else {}
    patches: Tensor = apply_rot_embed_cat(x[:, :, prefix:], rope, **options)
    return torch.cat((x[:, :, :prefix], patches), dim=2).type_as(x)


def _parallel_scaling(module: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return queries and keys of a block whose projection holds the MLP's too."""
    projected = module.in_proj(module.in_norm(tokens))
    if getattr(module, "qkv_bias", None) is not None:
        # Older timm, whose order of the biases is not that of the split below.
        projected = projected + torch.cat((module.qkv_bias, module.mlp_bias))
    _, q, k, _ = torch.split(projected, module.in_split, dim=-1)
    q, k = (x.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for x in (q, k))
    return module.q_norm(q), module.k_norm(k)
