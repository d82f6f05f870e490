"""Equation 7: the attention of one class token to unmasked patch tokens, and what it gathers."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_bool,
    check_choice,
    check_floating,
    check_same_device,
    check_same_type,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.values import readable
from fsr.aggregation._inputs import check_shown, check_visible

Masking = Literal["exclude", "scale", "ignore"]
MASKINGS: tuple[Masking, ...] = get_args(Masking)


def cross_attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None = None, masking: Masking = "exclude"
) -> Tensor:
    r"""Attention A of Eq. 7 for every head.

    ``masking`` says what the mask :math:`M_b` does to the logits :math:`q k^\top / \sqrt{d}`:
    ``"exclude"`` gives masked tokens weight exactly 0, as the text has it ("a set of unmasked patch
    tokens"); ``"scale"`` multiplies the logits by :math:`1 - M_b`, as Eq. 7 is printed, so that a
    masked token keeps the weight of a logit of 0; ``"ignore"`` lets every token be seen, as the
    released code does. d is the width of a head: with one head, the D of the paper.

    A row that excludes all of its tokens has no defined weights; the modules refuse it.

    Args:
        q: query of the class token, ``(B, heads, 1, d)``.
        k: keys of the patch tokens, ``(B, heads, N, d)``.
        mask: :math:`M_b`, boolean ``(B, N)``, True = masked; None masks nothing.
        masking: ``"exclude"``, ``"scale"`` or ``"ignore"``.

    Returns:
        Weights ``(B, heads, 1, N)``, in at least float32; every row sums to 1.

    Raises:
        ShapeError: a shape is wrong.
        TypeError: ``mask`` is not boolean.
        ValueError: ``masking`` is unknown.

    Source:
        Section "Certain Feature Aggregation", Eq. 7.

    Example:
        >>> q, k = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 3, 2)
        >>> cross_attention_weights(q, k, torch.tensor([[True, False, False]])).flatten()
        tensor([0.0000, 0.5000, 0.5000])
    """
    k, visible = _apply_mask(q, k, mask, masking)
    # Half-precision weights would not sum to 1.
    with no_autocast(q):
        q, k = at_least_float32(q), at_least_float32(k)
        logits = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if visible is not None:
            logits = logits.masked_fill(~visible, -torch.inf)
        weights: Tensor = logits.softmax(dim=3)
    return weights


def masked_cross_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, masking: Masking = "exclude"
) -> Tensor:
    r"""What the class token gathers with the attention of Eq. 7, :math:`A V`, in a fused kernel.

    Under ``"exclude"``, keys and values of masked tokens may hold anything, NaN included. A row
    that excludes all of its tokens has no defined result; the modules refuse it.

    Args:
        q: query of the class token, ``(B, heads, 1, d)``.
        k: keys of the patch tokens, ``(B, heads, N, d)``.
        v: values of the patch tokens, ``(B, heads, N, d)``.
        mask: :math:`M_b`, boolean ``(B, N)``, True = masked; None masks nothing.
        masking: ``"exclude"``, ``"scale"`` or ``"ignore"``; see :func:`cross_attention_weights`.

    Returns:
        ``(B, heads, 1, d)``, of the inputs' type.

    Raises:
        ShapeError: a shape is wrong.
        TypeError: ``mask`` is not boolean.
        ValueError: ``masking`` is unknown.

    Source:
        Section "Certain Feature Aggregation", Eq. 7 and the sentence after it.

    Example:
        >>> q, k = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 3, 1)
        >>> v = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
        >>> masked_cross_attention(q, k, v, torch.tensor([[True, False, False]])).item()
        3.0
    """
    k, visible = _apply_mask(q, k, mask, masking)
    batch, heads, count, width = k.shape
    check_shape("v", v, "B heads N d", B=batch, heads=heads, N=count, d=width)
    check_same_device(q=q, k=k, v=v, mask=mask)
    check_floating("v", v, finite=False)
    check_shown("v", v, mask if masking == "exclude" else None)
    check_same_type(q=q, v=v)
    if visible is not None:
        # Weight 0 times NaN or infinity would still be NaN.
        v = v.masked_fill(~visible.transpose(2, 3), 0.0)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)


def _apply_mask(
    q: Tensor, k: Tensor, mask: Tensor | None, masking: Masking
) -> tuple[Tensor, Tensor | None]:
    """Check, then return the keys to use and, under "exclude", which are visible (B, 1, 1, N)."""
    check_choice("masking", masking, MASKINGS)
    batch, heads, _, width = check_shape("q", q, "B heads 1 d", **{"1": 1})
    _, _, count, _ = check_shape("k", k, "B heads N d", B=batch, heads=heads, d=width)
    check_same_device(q=q, k=k, mask=mask)
    check_floating("q", q)
    check_floating("k", k, finite=False)
    check_same_type(q=q, k=k)
    if mask is None:
        check_shown("k", k, None)
        return k, None
    check_shape("mask", mask, "B N", B=batch, N=count)
    check_bool("mask", mask)
    check_shown("k", k, None if masking == "ignore" else mask)
    if masking == "exclude" and readable(mask):
        check_visible(mask)
    if masking == "ignore":
        return k, None
    # A key of 0 makes the logit 0, which is the factor 1 - M_b of Eq. 7 without explicit logits.
    k = k.masked_fill(mask[:, None, :, None], 0.0)
    return k, None if masking == "scale" else ~mask[:, None, None, :]
