"""Biases by offset inside the windows of an encoder such as Swin, at windows of another size.

timm narrows a window to a map that is smaller than it. What was learned of an offset stays with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from timm.layers import resize_rel_pos_bias_table
from torch import Tensor


def fit_window_table(table: Tensor, window: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Bring a table of a window encoder, such as Swin, to another window.

    A smaller window keeps the bias of every offset that it has, so that the pairs of cells that
    are left attend as before. A larger one takes timm's interpolation.

    Args:
        table: ``((2H - 1) (2W - 1), heads)`` for a window ``(H, W)``.
        window: window that the table was made for.
        wanted: window wanted.

    Example:
        >>> import torch
        >>> table = torch.arange(25.0).unsqueeze(1)
        >>> fit_window_table(table, (3, 3), (2, 2)).view(3, 3)
        tensor([[ 6.,  7.,  8.],
                [11., 12., 13.],
                [16., 17., 18.]])
    """
    if all(new <= old for new, old in zip(wanted, window, strict=True)):
        maps = table.unflatten(0, [2 * side - 1 for side in window])
        rows, columns = (
            slice(old - new, old + new - 1) for old, new in zip(window, wanted, strict=True)
        )
        central: Tensor = maps[rows, columns].flatten(0, 1)
        return central
    shape = ((2 * wanted[0] - 1) * (2 * wanted[1] - 1), table.shape[1])
    resized: Tensor = resize_rel_pos_bias_table(table, new_window_size=wanted, new_bias_shape=shape)
    return resized


def fit_window_tables(network: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the tables of a state to the windows of a network, from the square that they cover.

    Args:
        network: the network that the state is for.
        state: weights under the network's names.

    Returns:
        The state; a table that covers no square window stays as it is.
    """
    result = dict(state)
    holder: Any
    for name, holder in network.named_modules():
        key = f"{name}.relative_position_bias_table"
        if key not in result or result[key].shape == holder.relative_position_bias_table.shape:
            continue
        side = math.isqrt(result[key].shape[0])
        if result[key].ndim == 2 and side * side == result[key].shape[0] and side % 2 == 1:
            window = ((side + 1) // 2, (side + 1) // 2)
            result[key] = fit_window_table(result[key], window, tuple(holder.window_size))
    return result


def keep_trained_offsets(network: Any, trained: Any) -> None:
    """Have windows that were narrowed measure offsets as the trained ones did, as in Swin v2.

    Its bias is a function of the offset in units of the window; timm takes the present window where
    the model names no other, and would so give another bias to the same offset.

    Args:
        network: stages for the image size wanted, changed in place.
        trained: the same stages for the size that timm builds by default.
    """
    own: Any
    theirs: Any
    for (_, own), (_, theirs) in zip(network.named_modules(), trained.named_modules(), strict=True):
        if any(getattr(own, "pretrained_window_size", (1, 1))):
            continue
        window, wanted = tuple(theirs.window_size), tuple(own.window_size)
        if wanted != window and all(new <= old for new, old in zip(wanted, window, strict=True)):
            own.pretrained_window_size = own.window_size = window
            own.set_window_size(wanted)
