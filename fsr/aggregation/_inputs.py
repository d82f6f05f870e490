"""Checks that all aggregators share."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_bool, check_floating, check_same_device, check_shape
from fsr._core.values import may_look, readable
from fsr.errors import ShapeError


def check_tokens(tokens: Tensor, mask: Tensor | None, dim: int | None = None) -> tuple[int, int]:
    """Check shapes and types of tokens ``(B, N, D)`` and mask ``(B, N)``; return B and N."""
    sizes = {} if dim is None else {"D": dim}
    batch, count, _ = check_shape("tokens", tokens, "B N D", **sizes)
    check_same_device(tokens=tokens, mask=mask)
    check_floating("tokens", tokens, finite=False)
    if count < 1:
        raise ShapeError(f"tokens: expected at least one token, got {tuple(tokens.shape)}")
    if mask is not None:
        check_shape("mask", mask, "B N", B=batch, N=count)
        check_bool("mask", mask)
    return batch, count


def check_visible(mask: Tensor) -> None:
    """Raise ``ValueError`` if a row masks every token; steps aside under ``torch.compile``."""
    if not may_look(mask):
        return
    full = mask.all(dim=1)
    if bool(full.any()):
        rows = full.nonzero().flatten().tolist()
        raise ValueError(
            f"mask: expected an unmasked token in every row, got rows {rows} all masked"
        )


def check_shown(name: str, tokens: Tensor, mask: Tensor | None) -> None:
    """Raise ``ValueError`` if a token that is not masked holds NaN or infinity.

    What is masked may hold anything, as it is never read.

    Args:
        name: argument name for the message.
        tokens: ``(B, ..., N, D)``.
        mask: ``(B, N)`` boolean, True = masked, or None.
    """
    if readable(tokens):
        if mask is not None:
            heads = mask[:, None] if tokens.ndim == 4 else mask
            tokens = tokens.masked_fill(heads.unsqueeze(-1), 0.0)
        check_floating(name, tokens)
