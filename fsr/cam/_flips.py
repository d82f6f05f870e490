"""Mirrored, transposed and cropped maps, each image in its own way, and the way back."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import (
    check_floating,
    check_grid,
    check_integer,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.values import may_look
from fsr.errors import ShapeError


def flip_maps(maps: Tensor, flips: Tensor) -> Tensor:
    """Mirror left and right, then up and down, then transpose the maps of the images that say so.

    Args:
        maps: maps or images, ``(B, K, S, S)``, square.
        flips: whether to mirror left-right, up-down, and to transpose, ``(B, 3)``, where > 0.

    Returns:
        ``(B, K, S, S)``.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or the maps are not square.

    Example:
        >>> maps = torch.tensor([[[[1, 2], [3, 4]]]])
        >>> flip_maps(maps, torch.tensor([[1, 0, 1]])).tolist()
        [[[[2, 4], [1, 3]]]]
    """
    mirrored, upside_down, transposed = _flags(maps, flips)
    maps = torch.where(mirrored, maps.flip(-1), maps)
    maps = torch.where(upside_down, maps.flip(-2), maps)
    return torch.where(transposed, maps.transpose(-1, -2), maps)


def unflip_maps(maps: Tensor, flips: Tensor) -> Tensor:
    """Undo :func:`flip_maps` with the same flips.

    Args:
        maps: maps or images, ``(B, K, S, S)``, square.
        flips: the flips that were done, ``(B, 3)``.

    Returns:
        ``(B, K, S, S)``.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or the maps are not square.

    Example:
        >>> maps, flips = torch.rand(1, 2, 4, 4), torch.tensor([[1, 0, 1]])
        >>> torch.equal(unflip_maps(flip_maps(maps, flips), flips), maps)
        True
    """
    mirrored, upside_down, transposed = _flags(maps, flips)
    maps = torch.where(transposed, maps.transpose(-1, -2), maps)
    maps = torch.where(upside_down, maps.flip(-2), maps)
    return torch.where(mirrored, maps.flip(-1), maps)


def crop_maps(maps: Tensor, box: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Cut a box out of every image's maps and resize it bilinearly with aligned corners.

    Boxes of several sizes make one batch, and none is read on the host.

    Args:
        maps: maps or images, ``(B, K, h, w)``.
        box: top, bottom, left and right of each image in pixels of the maps, half-open,
            ``(B, 4)`` integers; all of the maps if None. At least one pixel within the maps.
        size: height and width of the result.

    Returns:
        ``(B, K, *size)``, in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there is no pixel.
        TypeError: ``maps`` is not floating point, ``box`` is not integer or ``size`` no integers.
        ValueError: a box is empty or not within the maps (not tested under ``torch.compile``), or
            ``size`` is below 1.

    Example:
        >>> maps = torch.arange(6.0).view(1, 1, 1, 6)
        >>> crop_maps(maps, torch.tensor([[0, 1, 2, 5]]), (1, 5)).flatten()
        tensor([2.0000, 2.5000, 3.0000, 3.5000, 4.0000])
    """
    batch, _, height, width = check_shape("maps", maps, "B K h w")
    check_floating("maps", maps)
    check_grid("size", size)
    if min(height, width) < 1:
        raise ShapeError(f"maps: expected at least one pixel, got {tuple(maps.shape)}")
    if box is None:
        box = torch.tensor([[0, height, 0, width]], device=maps.device).expand(batch, 4)
    check_shape("box", box, "B 4", B=batch, **{"4": 4})
    check_integer("box", box)
    check_same_device(maps=maps, box=box)
    _check_within(box, height, width)
    with no_autocast(maps):
        values = at_least_float32(maps)
        top, bottom, left, right = box.to(values).unbind(1)
        rows = _interpolation(top, bottom, height, size[0])
        columns = _interpolation(left, right, width, size[1])
        return rows[:, None] @ values @ columns[:, None].transpose(-1, -2)


def _interpolation(start: Tensor, stop: Tensor, length: int, count: int) -> Tensor:
    """Weights of the ``length`` pixels for ``count`` places from start to stop, ``(B, count, n)``.

    The places are those of aligned corners; each lies between two pixels, whose weights fall
    linearly with their distance.
    """
    steps = torch.arange(count, device=start.device, dtype=start.dtype)
    last = (stop - 1 - start)[:, None]
    places = start[:, None] + steps * last / max(count - 1, 1)
    pixels = torch.arange(length, device=start.device, dtype=start.dtype)
    return (1 - (places[:, :, None] - pixels).abs()).clamp(min=0)


def _flags(maps: Tensor, flips: Tensor) -> tuple[Tensor, ...]:
    """Return which images to mirror, turn upside down and transpose, each ``(B, 1, 1, 1)``."""
    batch, _, height, width = check_shape("maps", maps, "B K S S")
    check_shape("flips", flips, "B 3", B=batch, **{"3": 3})
    if height != width:
        raise ShapeError(f"maps: expected square maps (B, K, S, S), got {tuple(maps.shape)}")
    if maps.is_floating_point():
        check_floating("maps", maps)
    if not flips.is_meta or maps.is_meta:
        flips = flips.to(maps.device)
    check_same_device(maps=maps, flips=flips)
    return (flips > 0)[:, :, None, None, None].unbind(1)


def _check_within(box: Tensor, height: int, width: int) -> None:
    """Raise ``ValueError`` unless every box holds a pixel and none outside the maps."""
    if not may_look(box):
        return
    top, bottom, left, right = box.unbind(1)
    fits = (top >= 0) & (top < bottom) & (bottom <= height)
    fits &= (left >= 0) & (left < right) & (right <= width)
    if not bool(fits.all()):
        found = box[~fits][0].tolist()
        raise ValueError(
            "box: expected 0 <= top < bottom <= height and 0 <= left < right <= width of maps "
            f"{height} x {width}, got {found}"
        )
