"""Attention entropy: how broad the context is that a head reads (Fig. 6)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError
from fsr.visualize._visit import (
    backbone_of,
    fitted,
    join_blocks,
    query_rows,
    visit_attention,
)

HALVES = (torch.float16, torch.bfloat16)


class EncoderEntropy(NamedTuple):
    """Attention entropy of an encoder's heads over a set of images.

    Attributes:
        mean: mean over the images, ``(depth, heads)`` float64: the dots of Fig. 6.
        per_image: entropy of every image, ``(images, depth, heads)`` float64.
    """

    mean: Tensor
    per_image: Tensor


def attention_entropy(
    attention: Tensor, *, prefix: int = 0, queries: str = "patches", normalize: bool = False
) -> Tensor:
    r"""Average entropy of the queries' attention, in nats (Fig. 6).

    .. math:: \frac{1}{Q} \sum_{i=1}^{Q} \Bigl( -\sum_{j=1}^{L} a_{ij} \ln a_{ij} \Bigr)

    It is 0 where every query reads one token and :math:`\ln L` where all read all L tokens alike.
    The sum runs over all keys, prefix tokens included, as the weights sum to 1 over them only.

    Args:
        attention: weights ``(..., Q, L)``, for example ``(B, heads, Q, L)``; rows sum to 1.
        prefix: number of class, distillation and register tokens at the start of the queries.
        queries: queries to average over: ``"patches"`` leaves the first ``prefix`` out,
            ``"prefix"`` takes no others, ``"all"`` takes all.
        normalize: divide by :math:`\ln L`, so that results lie between 0 and 1 and images of
            different sizes compare; 0 where L is 1.

    Returns:
        Entropy ``(...)`` in nats (or in units of :math:`\ln L`), in at least float32.

    Raises:
        ShapeError: ``attention`` has fewer than two axes, or no query of the kind, or no key.
        TypeError: ``attention`` is no floating-point tensor, or ``prefix`` no integer.
        ValueError: a weight is negative or NaN, rows do not sum to 1, ``prefix`` is negative, or
            there is no such kind of query.

    Source:
        Fig. 6 and the section "Analysis of Feature Self-reinforcement" (a); Attanasio et al.,
        "Entropy-based Attention Regularization Frees Unintended Bias Mitigation from Lists",
        Findings of ACL 2022.

    Example:
        >>> attention = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
        >>> attention_entropy(attention)
        tensor(0.6931)
        >>> attention_entropy(attention, prefix=1, normalize=True)
        tensor(1.)
    """
    if not isinstance(attention, Tensor) or attention.ndim < 2:
        check_shape("attention", attention, "... Q L")
    check_floating("attention", attention, finite=False)
    if isinstance(prefix, bool) or not isinstance(prefix, int):
        raise TypeError(f"prefix: expected an integer of at least 0, got {prefix!r}")
    if prefix < 0:
        raise ValueError(f"prefix: expected an integer of at least 0, got {prefix}")
    chosen = attention[..., query_rows(queries, prefix), :]
    if 0 in chosen.shape[-2:]:
        raise ShapeError(
            f"attention: expected queries and keys, got {tuple(attention.shape)} with "
            f"prefix={prefix}, queries={queries!r}"
        )
    exact = at_least_float32(chosen)
    _check_rows(exact, 1e-2 if attention.dtype in HALVES else 1e-3)
    # entr(0) is 0, the limit: tokens that are masked out add nothing.
    entropy: Tensor = torch.special.entr(exact).sum(dim=-1).mean(dim=-1)
    length = attention.shape[-1]
    return entropy / math.log(length) if normalize and length > 1 else entropy


def encoder_entropy(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    *,
    queries: str = "patches",
    normalize: bool = False,
) -> EncoderEntropy:
    r"""Attention entropy of every head and block of the encoder over images (Fig. 6).

    One encoder forward per batch, without gradient and in eval mode, which is restored between
    batches. Batches are taken one at a time from any iterable, and no more than one block's weights
    of one batch, ``(B, heads, Q, L)``, are held at a time.

    Args:
        model: a :class:`fsr.segmenter.SingleStageSegmenter` or a :class:`fsr.backbone.ViTBackbone`.
        images: batches ``(B, 3, height, width)``, normalised, on the model's device, each of any
            size of at least one patch (resized to the nearest that the patch divides); or one such
            tensor. Entropies in nats of images of different sizes do not compare: set
            ``normalize``, or give images of one size.
        queries: ``"patches"``, ``"prefix"`` or ``"all"``, see :func:`attention_entropy`.
        normalize: divide by the logarithm of the number of tokens.

    Returns:
        Entropy in nats (or in units of :math:`\ln L`) by image, and its mean ``(depth, heads)``,
        on the CPU.

    Raises:
        ShapeError: a batch has the wrong shape.
        TypeError: ``model`` is neither, ``images`` hold no tensors, or one is not floating point.
        ValueError: there is no image, one is smaller than a patch, there is no such query, a
            block's attention cannot be recomputed, or the blocks' head counts differ.

    Source:
        Fig. 6 and the section "Analysis of Feature Self-reinforcement" (a).

    Example:
        >>> from fsr.backbone import ViTBackbone
        >>> small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
        >>> encoder = ViTBackbone("vit_tiny_patch16_224", image_size=32, options=small)
        >>> entropy = encoder_entropy(encoder, (torch.rand(2, 3, 32, 32) for _ in range(2)))
        >>> entropy.mean.shape, entropy.per_image.shape
        (torch.Size([3, 2]), torch.Size([4, 3, 2]))
    """
    backbone = backbone_of(model)
    rows = query_rows(queries, int(backbone.model.num_prefix_tokens))
    if not isinstance(images, Iterable):
        raise TypeError(
            f"images: expected a tensor or batches of images, got {type(images).__name__}"
        )
    collected = []
    for batch in [images] if isinstance(images, Tensor) else images:
        found: list[Tensor] = []

        def receive(_: int, weights: Tensor, found: list[Tensor] = found) -> None:
            found.append(attention_entropy(weights, queries="all", normalize=normalize))

        visit_attention(
            backbone,
            fitted(batch, backbone.patch_size),
            receive,
            blocks=range(backbone.depth),
            rows=rows,
        )
        collected.append(join_blocks(found).cpu().double())
    if not collected:
        raise ValueError("images: expected at least one image, got none")
    per_image = torch.cat(collected)
    return EncoderEntropy(per_image.mean(dim=0), per_image)


def _check_rows(attention: Tensor, slack: float) -> None:
    """Raise unless all rows are distributions; steps aside under ``torch.compile``."""
    if torch.compiler.is_compiling():
        return
    sums = attention.sum(dim=-1)
    # NaN fails both comparisons.
    if bool((attention >= 0).all() & ((sums - 1).abs() <= slack).all()):
        return
    lowest, low, high = (x.item() for x in (attention.min(), sums.min(), sums.max()))
    raise ValueError(
        "attention: expected weights of at least 0 whose rows sum to 1, "
        f"got a least weight of {lowest:g} and sums from {low:g} to {high:g}"
    )
