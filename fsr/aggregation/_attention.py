"""Equations 5 and 6: the layers of one aggregation block."""

from __future__ import annotations

from collections import OrderedDict

from einops import rearrange
from torch import Tensor, nn

from fsr._core.arguments import check_number
from fsr._core.checks import (
    check_bool,
    check_floating,
    check_like_weight,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.module import TypedModule
from fsr.aggregation._equations import Masking, cross_attention_weights, masked_cross_attention
from fsr.aggregation._inputs import check_shown

# That of timm's and the authors' vision transformers, whose tokens the block reads.
NORM_EPS = 1e-6


class CrossAttention(TypedModule):
    """Masked cross-attention (MCA) of Eq. 5: projections of Eq. 6, attention of Eq. 7, output.

    Args:
        dim: width D of the tokens.
        num_heads: number of attention heads, a divisor of ``dim``.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is not positive, or ``num_heads`` does not divide ``dim``.

    Source:
        Section "Certain Feature Aggregation", Eq. 6 and 7.

    Example:
        >>> import torch
        >>> attention = CrossAttention(8, num_heads=2)
        >>> attention(torch.rand(1, 1, 8), torch.rand(1, 5, 8)).shape
        torch.Size([1, 1, 8])
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        check_positive_int("num_heads", num_heads)
        if dim % num_heads:
            raise ValueError(f"num_heads: expected a divisor of dim={dim}, got {num_heads}")
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        mask: Tensor | None = None,
        masking: Masking = "exclude",
    ) -> Tensor:
        """Return what the class token gathers from the patch tokens.

        Args:
            query: normalised class token, ``(B, 1, D)``.
            tokens: normalised patch tokens, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked, or None.
            masking: see :func:`fsr.aggregation.cross_attention_weights`.

        Returns:
            ``(B, 1, D)``.
        """
        _check_inputs(query, tokens, mask if masking == "exclude" else None, self.q.weight)
        q, k, v = (self._heads(x) for x in (self.q(query), self.k(tokens), self.v(tokens)))
        gathered = masked_cross_attention(q, k, v, mask, masking)
        out: Tensor = self.proj(rearrange(gathered, "b heads n d -> b n (heads d)"))
        return out

    def weights(
        self,
        query: Tensor,
        tokens: Tensor,
        mask: Tensor | None = None,
        masking: Masking = "exclude",
    ) -> Tensor:
        """Return the attention of Eq. 7 that :meth:`forward` applies.

        Args:
            query: normalised class token, ``(B, 1, D)``.
            tokens: normalised patch tokens, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked, or None.
            masking: see :func:`fsr.aggregation.cross_attention_weights`.

        Returns:
            ``(B, heads, N)``.
        """
        _check_inputs(query, tokens, mask if masking == "exclude" else None, self.q.weight)
        q, k = self._heads(self.q(query)), self._heads(self.k(tokens))
        return cross_attention_weights(q, k, mask, masking).squeeze(2)

    def _heads(self, value: Tensor) -> Tensor:
        """Split the heads: ``(B, N, D)`` to ``(B, heads, N, d)``."""
        return rearrange(value, "b n (heads d) -> b heads n d", heads=self.num_heads)


class AggregationBlock(TypedModule):
    """One aggregation block of Eq. 5: masked cross-attention, then feed-forward, both residual.

    Only the class token changes; the patch tokens are the same for every block.

    Args:
        dim: width D of the tokens.
        num_heads: number of attention heads, a divisor of ``dim``.
        mlp_ratio: width of the feed-forward layer over ``dim``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or ``num_heads`` does not divide ``dim``.

    Source:
        Section "Certain Feature Aggregation", Eq. 5, and Fig. 3.

    Example:
        >>> import torch
        >>> block = AggregationBlock(8, num_heads=2)
        >>> block(torch.zeros(1, 1, 8), torch.rand(1, 5, 8)).shape
        torch.Size([1, 1, 8])
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        check_number("mlp_ratio", mlp_ratio)
        self.attn = CrossAttention(dim, num_heads)
        hidden = int(dim * mlp_ratio)
        if hidden < 1:
            raise ValueError(
                f"mlp_ratio: expected a number of at least 1 / dim = {1 / dim:g}, got {mlp_ratio}"
            )
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        layers = {"fc1": nn.Linear(dim, hidden), "act": nn.GELU(), "fc2": nn.Linear(hidden, dim)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        mask: Tensor | None = None,
        masking: Masking = "exclude",
    ) -> Tensor:
        """Return the class token after the block.

        Args:
            query: class token, ``(B, 1, D)``.
            tokens: patch tokens, ``(B, N, D)``, not normalised.
            mask: boolean ``(B, N)``, True = masked, or None.
            masking: see :func:`fsr.aggregation.cross_attention_weights`.

        Returns:
            ``(B, 1, D)``.
        """
        # One norm for [class token; patch tokens], as Eq. 5 has it.
        _check_inputs(query, tokens, mask if masking == "exclude" else None, self.attn.q.weight)
        query = query + self.attn(self.norm1(query), self.norm1(tokens), mask, masking)
        out: Tensor = query + self.mlp(self.norm2(query))
        return out

    def weights(
        self,
        query: Tensor,
        tokens: Tensor,
        mask: Tensor | None = None,
        masking: Masking = "exclude",
    ) -> Tensor:
        """Return the attention ``(B, heads, N)`` of :meth:`forward` with the same arguments."""
        _check_inputs(query, tokens, mask if masking == "exclude" else None, self.attn.q.weight)
        return self.attn.weights(self.norm1(query), self.norm1(tokens), mask, masking)


def _check_inputs(query: Tensor, tokens: Tensor, hidden: Tensor | None, weight: Tensor) -> None:
    """Raise unless a query and tokens fit each other and the weights; of masked ones no value."""
    width = weight.shape[1]
    batch, _, _ = check_shape("query", query, "B 1 D", D=width, **{"1": 1})
    _, count, _ = check_shape("tokens", tokens, "B N D", B=batch, D=width)
    if hidden is not None:
        check_shape("mask", hidden, "B N", B=batch, N=count)
        check_bool("mask", hidden)
        check_same_device(tokens=tokens, mask=hidden)
    for name, value in (("query", query), ("tokens", tokens)):
        check_floating(name, value, finite=name == "query")
        check_like_weight(name, value, weight)
    check_shown("tokens", tokens, hidden)
