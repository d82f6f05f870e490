"""Several small pictures as one large one, and the way back."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

from fsr._core.checks import check_floating, check_grid, check_shape
from fsr.errors import ShapeError


def join_tiles(tiles: Tensor, grid: tuple[int, int]) -> Tensor:
    """Lay every ``rows * columns`` pictures side by side, row by row, as one.

    Args:
        tiles: pictures or maps, ``(B, K, h, w)``.
        grid: rows and columns of pictures in one.

    Returns:
        ``(B / (rows * columns), K, rows * h, columns * w)``.

    Raises:
        ShapeError: ``tiles`` has the wrong shape, or B is no multiple of ``rows * columns``.
        TypeError: ``grid`` is not two integers.
        ValueError: ``grid`` is below 1.

    Example:
        >>> import torch
        >>> join_tiles(torch.arange(4).view(4, 1, 1, 1), (2, 2)).tolist()
        [[[[0, 1], [2, 3]]]]
    """
    batch, *_ = check_shape("tiles", tiles, "B K h w")
    if tiles.is_floating_point():
        check_floating("tiles", tiles)
    rows, columns = check_grid("grid", grid)
    if batch % (rows * columns):
        raise ShapeError(
            f"tiles: expected a multiple of {rows} x {columns} pictures, got {tuple(tiles.shape)}"
        )
    return rearrange(tiles, "(b r c) k h w -> b k (r h) (c w)", r=rows, c=columns)


def split_tiles(pictures: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cut every picture into ``rows * columns`` of one size: the inverse of :func:`join_tiles`.

    Args:
        pictures: pictures or maps, ``(B, K, H, W)``.
        grid: rows and columns of pictures in one.

    Returns:
        ``(B * rows * columns, K, H / rows, W / columns)``.

    Raises:
        ShapeError: ``pictures`` has the wrong shape or does not divide.
        TypeError: ``grid`` is not two integers.
        ValueError: ``grid`` is below 1.

    Example:
        >>> import torch
        >>> split_tiles(torch.tensor([[[[0, 1], [2, 3]]]]), (2, 2)).flatten()
        tensor([0, 1, 2, 3])
    """
    *_, height, width = check_shape("pictures", pictures, "B K H W")
    if pictures.is_floating_point():
        check_floating("pictures", pictures)
    rows, columns = check_grid("grid", grid)
    if height % rows or width % columns:
        raise ShapeError(
            f"pictures: expected a height and width that {rows} x {columns} divide, "
            f"got {tuple(pictures.shape)}"
        )
    return rearrange(pictures, "b k (r h) (c w) -> (b r c) k h w", r=rows, c=columns)
