"""Attention weights of one of timm's modules, computed again from its input."""

from __future__ import annotations

from typing import Any

from timm.models import vision_transformer
from torch import Tensor, nn

from fsr._core.checks import check_floating, check_like_weight, check_shape
from fsr.backbone import query_key, weights_of

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
        >>> import torch
        >>> module = Attention(8, num_heads=2).eval()
        >>> weights = recompute_attention(module, torch.rand(1, 5, 8))
        >>> weights.shape, bool((weights.sum(3) - 1).abs().max() < 1e-6)
        (torch.Size([1, 2, 5, 5]), True)
    """
    check_shape("tokens", tokens, "B L D")
    check_floating("tokens", tokens)
    if not _is_known(module):
        raise ValueError(
            "module: expected timm's Attention or ParallelScalingBlock, "
            f"got {type(module).__name__}: its weights cannot be recomputed"
        )
    own: Any = module
    weight = next(own.parameters())
    check_like_weight("tokens", tokens, weight)
    check_shape("tokens", tokens, "B L D", D=weight.shape[-1])
    q, k = query_key(own, tokens)
    return weights_of(q, k, float(own.scale), rows=rows)


def _is_known(module: nn.Module) -> bool:
    """Whether a module forms its weights as timm's attention does, subclasses included."""
    return any(
        isinstance(module, kind) and type(module).forward is kind.forward
        for kind in (Attention, ParallelScalingBlock)
    )
