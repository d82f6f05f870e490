"""Average and maximum of the unmasked tokens: the alternatives of Table 4."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32
from fsr.aggregation._inputs import check_shown, check_tokens, check_visible


class AverageAggregator(TypedModule):
    """Global average pooling (GAP of Table 4): every unmasked token weighs the same.

    Source:
        Section "Analysis of Feature Self-reinforcement" (b), Table 4.

    Example:
        >>> tokens = torch.tensor([[[1.0], [3.0], [8.0]]])
        >>> AverageAggregator()(tokens, torch.tensor([[False, False, True]]))
        tensor([[2.]])
    """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the average over the unmasked tokens.

        Args:
            tokens: patch tokens, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked; None masks nothing.

        Returns:
            ``(B, D)``, of the tokens' type.

        Raises:
            ShapeError: ``tokens`` or ``mask`` has the wrong shape, or there is no token.
            TypeError: ``tokens`` is not floating point, or ``mask`` is not boolean.
            ValueError: ``mask`` masks every token of an image.
        """
        _, count = check_tokens(tokens, mask)
        check_shown("tokens", tokens, mask)
        # A half-precision sum over hundreds of tokens would lose most of their digits.
        exact = at_least_float32(tokens)
        if mask is None:
            return exact.mean(dim=1).to(tokens.dtype)
        check_visible(mask)
        total = exact.masked_fill(mask.unsqueeze(2), 0.0).sum(dim=1)
        return (total / (count - mask.sum(dim=1, keepdim=True))).to(tokens.dtype)


class MaxAggregator(TypedModule):
    """Global maximum pooling (GMP of Table 4): the largest unmasked value of every dimension.

    Source:
        Section "Analysis of Feature Self-reinforcement" (b), Table 4.

    Example:
        >>> tokens = torch.tensor([[[1.0], [3.0], [8.0]]])
        >>> MaxAggregator()(tokens, torch.tensor([[False, False, True]]))
        tensor([[3.]])
    """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the maximum over the unmasked tokens.

        Args:
            tokens: patch tokens, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked; None masks nothing.

        Returns:
            ``(B, D)``, of the tokens' type.

        Raises:
            ShapeError: ``tokens`` or ``mask`` has the wrong shape, or there is no token.
            TypeError: ``tokens`` is not floating point, or ``mask`` is not boolean.
            ValueError: ``mask`` masks every token of an image.
        """
        check_tokens(tokens, mask)
        check_shown("tokens", tokens, mask)
        if mask is not None:
            check_visible(mask)
            tokens = tokens.masked_fill(mask.unsqueeze(2), -torch.inf)
        return tokens.amax(dim=1)
