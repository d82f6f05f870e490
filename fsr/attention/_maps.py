"""What the attention of an encoder with class tokens says of patches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fsr._core.arguments import check_sequence, check_tensors
from fsr._core.checks import check_floating, check_grid, check_positive_int, check_shape
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError


def class_attention_maps(
    attention: Tensor | Sequence[Tensor], num_classes: int, grid: tuple[int, int], layers: int
) -> Tensor:
    r"""Attention of each class token to the patches, averaged over heads and the last blocks.

    .. math:: M_{ci} = \frac{1}{L H} \sum_{l > L_{all} - L} \sum_h a^{(l, h)}_{c,\, C + i}

    Args:
        attention: probabilities a of every block, ``(blocks, B, heads, T, T)``, or a sequence of
            ``(B, heads, T, T)``; rows attend to columns. The C class tokens stand in front of the
            patches, ``T = C + H * W``.
        num_classes: C, the number of class tokens.
        grid: patch grid ``(H, W)``.
        layers: how many of the last blocks count, L.

    Returns:
        ``(B, C, H, W)``, in at least float32.

    Raises:
        ShapeError: a shape is wrong, T is not the number of class tokens and patches, or there is
            no block or head.
        TypeError: ``attention`` is not floating point, ``grid`` is no pair of integers, or a number
            is no integer.
        ValueError: a number is below 1, or ``layers`` is more than there are blocks.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> import torch
        >>> attention = torch.full((4, 1, 2, 6, 6), 1 / 6)
        >>> attention[-1, 0, :, 0, 2:] = torch.tensor([0.1, 0.2, 0.3, 0.4])
        >>> class_attention_maps(attention, num_classes=2, grid=(2, 2), layers=1)[0, 0]
        tensor([[0.1000, 0.2000],
                [0.3000, 0.4000]])
    """
    check_positive_int("num_classes", num_classes)
    height, width = check_grid("grid", grid)
    check_positive_int("layers", layers)
    blocks = _blocks(attention)
    tokens = blocks[0].shape[-1]
    if tokens != num_classes + height * width:
        raise ShapeError(
            f"attention: expected {num_classes} class tokens and {height * width} patches, "
            f"got {tokens} tokens"
        )
    if layers > len(blocks):
        raise ValueError(f"layers: expected at most the {len(blocks)} blocks given, got {layers}")
    maps = _sum_over_blocks([block[:, :, :num_classes, num_classes:] for block in blocks[-layers:]])
    return (maps / layers).reshape(maps.shape[0], num_classes, height, width)


def patch_affinity(attention: Tensor | Sequence[Tensor], num_prefix: int) -> Tensor:
    r"""Attention of patches to patches, averaged over heads and summed over all blocks.

    .. math:: A_{ij} = \sum_l \frac1H \sum_h a^{(l, h)}_{P + i,\, P + j}

    Rows do not sum to 1: they do to the number of blocks less what the patch gives the prefix.

    Args:
        attention: probabilities a of every block, ``(blocks, B, heads, T, T)``, or a sequence of
            ``(B, heads, T, T)``; rows attend to columns.
        num_prefix: how many tokens stand in front of the patches, P, at least 0.

    Returns:
        ``(B, N, N)`` with ``N = T - P``, in at least float32.

    Raises:
        ShapeError: a shape is wrong, or there is no block, head or patch.
        TypeError: ``attention`` is not floating point, or ``num_prefix`` no integer.
        ValueError: ``num_prefix`` is negative.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> import torch
        >>> attention = torch.full((4, 1, 2, 5, 5), 1 / 5)
        >>> patch_affinity(attention, num_prefix=3)
        tensor([[[0.8000, 0.8000],
                 [0.8000, 0.8000]]])
    """
    if isinstance(num_prefix, bool) or not isinstance(num_prefix, int):
        raise TypeError(f"num_prefix: expected an integer of at least 0, got {num_prefix!r}")
    if num_prefix < 0:
        raise ValueError(f"num_prefix: expected an integer of at least 0, got {num_prefix}")
    blocks = _blocks(attention)
    tokens = blocks[0].shape[-1]
    if tokens <= num_prefix:
        raise ShapeError(f"attention: expected patches after {num_prefix} tokens, got {tokens}")
    return _sum_over_blocks([block[:, :, num_prefix:, num_prefix:] for block in blocks])


def _sum_over_blocks(parts: Sequence[Tensor]) -> Tensor:
    """Average each part over the heads and add them, one at a time, in at least float32."""
    # A half-precision mean would be rounded before it is added.
    total = at_least_float32(parts[0]).mean(dim=1)
    for part in parts[1:]:
        total = total + at_least_float32(part).mean(dim=1)
    return total


def _blocks(attention: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the attention of each block, or raise unless all are square and of one shape."""
    if isinstance(attention, Tensor):
        check_shape("attention", attention, "blocks B heads T T")
        blocks = attention.unbind(0)
    else:
        check_sequence("attention", attention, "tensors")
        if attention:
            check_tensors("attention", attention)
        blocks = tuple(attention)
    if len(blocks) == 0:
        raise ShapeError("attention: expected at least one block, got none")
    batch, heads, tokens, _ = check_shape("attention[0]", blocks[0], "B heads T T")
    for index, block in enumerate(blocks):
        name = f"attention[{index}]"
        check_shape(name, block, "B heads T T", B=batch, heads=heads, T=tokens)
        check_floating(name, block)
    if heads < 1:
        raise ShapeError("attention[0]: expected at least one head, got none")
    return blocks
