"""The aggregation module: a learnable class token and a few blocks (Eq. 5 to 7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from fsr._core.checks import check_choice, check_like_weight, check_positive_int
from fsr._core.module import TypedModule
from fsr.aggregation._attention import AggregationBlock
from fsr.aggregation._equations import MASKINGS, Masking
from fsr.aggregation._inputs import check_shown, check_tokens, check_visible


class MaskedCrossAttentionAggregator(TypedModule):
    """Summarise the unmasked patch tokens of an image in one class token: A of Eq. 1.

    A learnable class token passes ``depth`` blocks of masked cross-attention and feed-forward
    layers (Eq. 5). The result is not normalised: the backbone's final norm belongs behind it.

    Args:
        dim: width D of the tokens.
        depth: number of aggregation blocks.
        num_heads: attention heads per block, a divisor of ``dim``.
        mlp_ratio: width of the feed-forward layers over ``dim``.
        masking: what the mask does: ``"exclude"``, masked tokens get weight exactly 0 and their
            content, NaN included, reaches neither result nor gradients (the text); ``"scale"``,
            Eq. 7 as printed; ``"ignore"``, every token is seen (the released code). See
            :func:`fsr.aggregation.cross_attention_weights`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, ``num_heads`` does not divide ``dim``, or
            ``masking`` is unknown.

    Source:
        Section "Certain Feature Aggregation", Eq. 5 to 7, and Fig. 3.

    Example:
        >>> aggregator = MaskedCrossAttentionAggregator(8, num_heads=2)
        >>> tokens, mask = torch.rand(3, 5, 8), torch.rand(3, 5) < 0.2
        >>> aggregator(tokens, mask).shape
        torch.Size([3, 8])
        >>> aggregator.attention_maps(tokens).shape
        torch.Size([3, 2, 2, 5])
    """

    def __init__(
        self,
        dim: int,
        depth: int = 2,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        *,
        masking: Masking = "exclude",
    ) -> None:
        super().__init__()
        check_positive_int("depth", depth)
        check_choice("masking", masking, MASKINGS)
        self.dim = dim
        self.masking: Masking = masking
        self.blocks = nn.ModuleList(
            AggregationBlock(dim, num_heads, mlp_ratio) for _ in range(depth)
        )
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and class token as vision transformers do: normal, 0.02, biases 0."""
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the class token after all blocks.

        Args:
            tokens: patch tokens before the backbone's final norm, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked; None masks nothing.

        Returns:
            ``(B, D)``, not normalised.

        Raises:
            ShapeError: ``tokens`` or ``mask`` has the wrong shape, or there is no token.
            TypeError: ``tokens`` is not floating point, or ``mask`` is not boolean.
            ValueError: ``mask`` excludes every token of an image.
        """
        query, tokens = self._start(tokens, mask)
        for block in cast("Iterable[AggregationBlock]", self.blocks):
            query = block(query, tokens, mask, self.masking)
        return query.squeeze(1)

    def attention_maps(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention of Eq. 7 of every block and head, as :meth:`forward` applies it.

        Args:
            tokens: patch tokens before the backbone's final norm, ``(B, N, D)``.
            mask: boolean ``(B, N)``, True = masked; None masks nothing.

        Returns:
            Weights ``(B, depth, heads, N)``, in at least float32; every row sums to 1.

        Raises:
            ShapeError: ``tokens`` or ``mask`` has the wrong shape, or there is no token.
            TypeError: ``tokens`` is not floating point, or ``mask`` is not boolean.
            ValueError: ``mask`` excludes every token of an image.
        """
        query, tokens = self._start(tokens, mask)
        maps: list[Tensor] = []
        for block in cast("Iterable[AggregationBlock]", self.blocks):
            maps.append(block.weights(query, tokens, mask, self.masking))
            query = block(query, tokens, mask, self.masking)
        return torch.stack(maps, dim=1)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"dim={self.dim}, masking={self.masking!r}"

    def _start(self, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Check the input; return one class token per image and the tokens to read."""
        batch, _ = check_tokens(tokens, mask, dim=self.dim)
        check_like_weight("tokens", tokens, self.class_token)
        check_shown("tokens", tokens, mask if self.masking == "exclude" else None)
        if mask is not None and self.masking == "exclude":
            check_visible(mask)
            # Weights of 0 do not stop NaN, neither forward nor in the gradient of the projections.
            tokens = tokens.masked_fill(mask.unsqueeze(2), 0.0)
        return self.class_token.expand(batch, -1, -1), tokens
