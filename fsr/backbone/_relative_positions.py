"""Tables of biases by relative position, brought from one patch grid to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.numerics import at_least_float32

# To the class token, from it, and of it on itself: the last rows of every table.
EXTRA = 3


def resize_relative_positions(
    table: Tensor, window: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Resize a table bicubically over its offsets, with gradient; the class token's rows stay.

    Args:
        table: ``((2H - 1) (2W - 1) + 3, heads)`` for a window ``(H, W)``.
        window: patch grid that the table was made for.
        grid: patch grid wanted.

    Returns:
        The table for ``grid``; the same tensor where that is the window.

    Example:
        >>> resize_relative_positions(torch.zeros(9 + 3, 4), (2, 2), (3, 2)).shape
        torch.Size([18, 4])
    """
    if tuple(window) == tuple(grid):
        return table
    own, wanted = ([2 * side - 1 for side in sides] for sides in (window, grid))
    maps = at_least_float32(table[:-EXTRA]).T.unflatten(1, own).unsqueeze(0)
    resized = F.interpolate(maps, size=wanted, mode="bicubic", align_corners=False)
    return torch.cat((resized[0].flatten(1).T.to(table.dtype), table[-EXTRA:]))


def resize_relative_tables(model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the tables of a state to the windows of a model, from the square that they cover.

    Args:
        model: the network that the state is for.
        state: weights under timm's names.

    Returns:
        The state; a table that covers no square stays as it is.
    """
    result = dict(state)
    # Older timm saves what follows from the window.
    own = {k: v for k, v in model.state_dict().items() if k.endswith("relative_position_index")}
    result |= {key: own[key] for key in own.keys() & result.keys()}
    holder: Any
    for name, holder in model.named_modules():
        key = f"{name}.relative_position_bias_table"
        # A table that fits is kept: as many offsets may belong to a rectangle and to a square.
        if key not in result or result[key].shape == holder.relative_position_bias_table.shape:
            continue
        side = math.isqrt(max(result[key].shape[0] - EXTRA, 0))
        if result[key].shape[0] == side * side + EXTRA and side % 2 == 1:
            square = ((side + 1) // 2, (side + 1) // 2)
            result[key] = resize_relative_positions(result[key], square, tuple(holder.window_size))
    return result
