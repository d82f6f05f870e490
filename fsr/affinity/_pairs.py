"""Which pairs of tokens are near each other, and which of them show one class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fsr._core.arguments import check_int
from fsr._core.checks import check_grid, check_integer, check_same_device, check_shape
from fsr._core.labels import IGNORE
from fsr.errors import ShapeError


def radius_mask(
    grid: tuple[int, int], radius: int = 8, *, device: torch.device | str | None = None
) -> Tensor:
    r"""Tell which pairs of patches lie within a square window of each other.

    .. math:: m_{ij} = \max(|y_i - y_j|, |x_i - x_j|) \le r

    Args:
        grid: rows and columns H, W of the patches.
        radius: r in patches, at least 0; with 0 only a patch itself.
        device: where the result is made; the default device if None.

    Returns:
        ``(N, N)`` bool in row-major order, ``N = H * W``, True inside the window.

    Raises:
        TypeError: ``grid`` is not two integers, or ``radius`` no integer.
        ValueError: ``grid`` is not positive, or ``radius`` below 0.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> radius_mask((1, 3), radius=1).int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [0, 1, 1]], dtype=torch.int32)
    """
    height, width = check_grid("grid", grid)
    if isinstance(radius, bool) or not isinstance(radius, int):
        raise TypeError(f"radius: expected an integer of at least 0, got {radius!r}")
    if radius < 0:
        raise ValueError(f"radius: expected an integer of at least 0, got {radius}")
    rows, columns = (
        (line[:, None] - line).abs() <= radius
        for line in (torch.arange(height, device=device), torch.arange(width, device=device))
    )
    near = rows[:, None, :, None] & columns[None, :, None, :]
    return near.reshape(height * width, height * width)


def affinity_labels(
    token_labels: Tensor, mask: Tensor | None = None, *, ignore_index: int = IGNORE
) -> Tensor:
    """Tell for every pair of an image's tokens whether both show one class.

    Args:
        token_labels: one label per token, ``(B, H, W)`` or ``(B, N)`` integers; 255 unknown.
        mask: pairs to compare, ``(N, N)`` bool, from :func:`radius_mask`; all if None.
        ignore_index: label of unknown tokens; of more than 254 classes it is another, see
            :func:`fsr.cam.ignore_label`.

    Returns:
        ``(B, N, N)`` int64: 1 same class, 0 different, 255 where a label is unknown or the pair
        outside the mask. A known token and itself are a pair of one class.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: ``token_labels`` is not integer, or ``mask`` not boolean.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> affinity_labels(torch.tensor([[1, 1, 0, 255]]), radius_mask((1, 4), radius=1))
        tensor([[[  1,   1, 255, 255],
                 [  1,   1,   0, 255],
                 [255,   0,   1, 255],
                 [255, 255, 255, 255]]])
    """
    given: Any = token_labels
    if not isinstance(given, Tensor):
        found = type(given).__name__
        raise TypeError(f"token_labels: expected a tensor (B, H, W) or (B, N), got {found}")
    if token_labels.ndim not in (2, 3):
        shape = tuple(token_labels.shape)
        raise ShapeError(f"token_labels: expected shape (B, H, W) or (B, N), got {shape}")
    check_integer("token_labels", token_labels)
    check_int("ignore_index", ignore_index)
    labels = token_labels.flatten(1)
    known = labels != ignore_index
    compared = known[:, :, None] & known[:, None, :]
    if mask is not None:
        check_same_device(token_labels=token_labels, mask=mask)
        check_pairs(mask, labels.shape[1])
        compared = compared & mask
    same = (labels[:, :, None] == labels[:, None, :]).long()
    return same.masked_fill(~compared, IGNORE)


def check_pairs(mask: Tensor, count: int) -> None:
    """Raise unless the mask is boolean and of all pairs of so many tokens."""
    check_shape("mask", mask, "N M", N=count, M=count)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask: expected a boolean tensor (True = near), got {mask.dtype}")
