"""Boxes of real pixels in padded crops: top, bottom, left and right, half-open."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_integer, check_shape
from fsr._core.values import may_look


def check_box(box: Tensor, batch: int, height: int, width: int) -> None:
    """Raise unless every row of ``box`` holds a part of its image, of at least one pixel.

    The values are one combined test, which steps aside under ``torch.compile``.

    Args:
        box: ``(B, 4)`` integers: top, bottom, left, right.
        batch: number of images B.
        height: rows of the images.
        width: columns of the images.

    Raises:
        ShapeError: ``box`` is not ``(B, 4)``.
        TypeError: ``box`` does not hold integers.
        ValueError: a row is empty or leaves the image, as boxes in another order mostly do.

    Example:
        >>> check_box(torch.tensor([[0, 2, 1, 3]]), 1, 2, 3)
    """
    check_shape("box", box, "B 4", B=batch, **{"4": 4})
    check_integer("box", box)
    if not may_look(box):
        return
    top, bottom, left, right = box.unbind(1)
    fits = (top >= 0) & (top < bottom) & (bottom <= height)
    fits &= (left >= 0) & (left < right) & (right <= width)
    if bool(fits.all()):
        return
    index = int((~fits).nonzero()[0])
    raise ValueError(
        f"box: expected top, bottom, left, right with 0 <= top < bottom <= {height} and "
        f"0 <= left < right <= {width}, got {box[index].tolist()} for image {index}"
    )


def outside_box(box: Tensor, height: int, width: int) -> Tensor:
    """Return which pixels lie outside the box of their image.

    Args:
        box: ``(B, 4)`` integers: top, bottom, left, right.
        height: rows of the images.
        width: columns of the images.

    Returns:
        ``(B, height, width)`` bool on the box's device, True outside.

    Example:
        >>> outside_box(torch.tensor([[0, 2, 1, 3]]), 2, 4).int()
        tensor([[[1, 0, 0, 1],
                 [1, 0, 0, 1]]], dtype=torch.int32)
    """
    top, bottom, left, right = box[:, :, None].unbind(1)
    rows = torch.arange(height, device=box.device)
    columns = torch.arange(width, device=box.device)
    inside_rows = (rows >= top) & (rows < bottom)
    inside_columns = (columns >= left) & (columns < right)
    return ~(inside_rows[:, :, None] & inside_columns[:, None, :])
