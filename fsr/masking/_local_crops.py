"""Local crops around uncertain regions, and which of them show an object of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_generator
from fsr._core.checks import (
    check_between,
    check_floating,
    check_integer,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.transfer import to_device
from fsr._core.values import may_look
from fsr.errors import ShapeError


def crop_flags(regions: Tensor, top_left: Tensor, crop_size: int, threshold: float = 0.2) -> Tensor:
    """Tell which crops show an object, by the mean of their regions.

    The mean of the values 0, 1 and 2 decides, not the share of uncertain pixels: a crop is positive
    if it is above the threshold, and negative at exactly the threshold.

    Args:
        regions: from :func:`uncertain_regions`, ``(B, H, W)`` integers 0, 1 and 2.
        top_left: first row and column of every crop, ``(B, count, 2)`` integers.
        crop_size: side of the crops in pixels.
        threshold: largest mean of a negative crop, in [0, 2].

    Returns:
        ``(B, count)`` bool, True = positive.

    Raises:
        ShapeError: a shape is wrong, or the regions are smaller than a crop.
        TypeError: ``regions`` or ``top_left`` is not integer, or an option of the wrong type.
        ValueError: an option is out of range, or a crop leaves the image.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> regions = torch.tensor([[[0, 0, 2, 2], [0, 0, 2, 2]]])
        >>> crop_flags(regions, torch.tensor([[[0, 0], [0, 1]]]), 2)
        tensor([[False,  True]])
    """
    batch, height, width = check_shape("regions", regions, "B H W")
    check_shape("top_left", top_left, "B count 2", B=batch, **{"2": 2})
    check_integer("regions", regions)
    check_integer("top_left", top_left)
    _check_room("regions", (height, width), crop_size)
    check_between("threshold", threshold, 0.0, 2.0)
    if top_left.is_meta or regions.is_meta:
        check_same_device(regions=regions, top_left=top_left)
    top_left = top_left.to(regions.device).long()
    _check_inside(top_left, height - crop_size, width - crop_size)
    return _crop_means(regions, top_left, crop_size) > threshold


def sample_local_crops(
    images: Tensor,
    regions: Tensor,
    count: int,
    crop_size: int,
    *,
    threshold: float = 0.2,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut crops around pixels that are background or uncertain, and tell which show an object.

    A crop's centre, its pixel ``crop_size // 2``, is drawn without replacement from the pixels with
    region 0 or 1 whose crop lies inside the image; from all pixels whose crop does, if fewer than
    ``count`` are such. (The released code never takes the last row and column of crops of even size
    and returns fewer crops for images that hardly hold one; here all that fit may be drawn, and an
    image that cannot hold ``count`` different crops is refused.)

    Args:
        images: ``(B, 3, H, W)``.
        regions: from :func:`uncertain_regions`, ``(B, H, W)`` integers, at the images' size.
        count: number of crops an image.
        crop_size: side s of the crops in pixels.
        threshold: largest mean region of a negative crop, see :func:`crop_flags`.
        generator: source of the draws; torch's global state if None.

    Returns:
        The crops ``(B, count, 3, s, s)``, their first row and column ``(B, count, 2)`` int64, and
        which are positive, ``(B, count)`` bool.

    Raises:
        ShapeError: a shape is wrong or does not fit, or the images are smaller than a crop.
        TypeError: ``regions`` is not integer, or an option of the wrong type.
        ValueError: an option is out of range, or the images hold fewer than ``count`` crops.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> images, regions = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> crops, top_left, positive = sample_local_crops(images, regions, 5, 4)
        >>> crops.shape, top_left.shape, bool(positive.any())
        (torch.Size([2, 5, 3, 4, 4]), torch.Size([2, 5, 2]), False)
    """
    batch, _, height, width = check_shape("images", images, "B 3 H W", **{"3": 3})
    check_shape("regions", regions, "B H W", B=batch, H=height, W=width)
    check_same_device(images=images, regions=regions)
    check_generator("generator", generator)
    check_floating("images", images)
    check_integer("regions", regions)
    check_positive_int("count", count)
    check_between("threshold", threshold, 0.0, 2.0)
    rows, columns = _check_room("images", (height, width), crop_size)
    if rows * columns < count:
        raise ValueError(
            f"count: expected at most {rows * columns} crops of crop_size={crop_size} in images of "
            f"{(height, width)}, got {count}"
        )
    chosen = _draw_places(regions, crop_size, count, generator)
    top_left = torch.stack([chosen // columns, chosen % columns], dim=2)
    positive = _crop_means(regions, top_left, crop_size) > threshold
    return _cut(images, top_left, crop_size), top_left, positive


def _draw_places(
    regions: Tensor, crop_size: int, count: int, generator: torch.Generator | None
) -> Tensor:
    """Return flat indices of so many places a crop may start at, ``(B, count)``, all different."""
    _, height, width = regions.shape
    half, rest = crop_size // 2, crop_size - 1 - crop_size // 2
    centres = regions[:, half : height - rest, half : width - rest].flatten(1)
    wanted = centres <= 1
    few = wanted.sum(dim=1, keepdim=True) < count
    # A generator draws on its own device only: move the numbers, so that any will do.
    source = regions.device if generator is None else generator.device
    noise = torch.rand(centres.shape, generator=generator, device=source)
    noise = to_device(noise, regions.device)
    # The largest of uniform numbers are a draw without replacement, of one shape for every image.
    return noise.masked_fill(~(wanted | few), -1.0).topk(count, dim=1).indices


def _crop_means(regions: Tensor, top_left: Tensor, crop_size: int) -> Tensor:
    """Return the mean region of every crop, ``(B, count)``, from exact sums over rectangles."""
    sums = F.pad(regions.long().cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, left = top_left.unbind(2)
    image = torch.arange(len(regions), device=regions.device)[:, None]
    bottom, right = top + crop_size, left + crop_size
    total = sums[image, bottom, right] - sums[image, top, right]
    total = total - sums[image, bottom, left] + sums[image, top, left]
    # One rounding, as that of the threshold: 0.2 of the pixels is exactly 0.2.
    return total.double() / crop_size**2


def _cut(images: Tensor, top_left: Tensor, crop_size: int) -> Tensor:
    """Return the crops ``(B, count, 3, s, s)`` that start at these rows and columns."""
    top_left = top_left.to(images.device)
    steps = torch.arange(crop_size, device=images.device)
    rows = (top_left[:, :, 0, None] + steps)[:, :, :, None]
    columns = (top_left[:, :, 1, None] + steps)[:, :, None, :]
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 1, 4, 2, 3).contiguous()


def _check_room(name: str, size: tuple[int, int], crop_size: int) -> tuple[int, int]:
    """Return how many rows and columns a crop may start at, or raise if there is none."""
    check_positive_int("crop_size", crop_size)
    if crop_size > min(size):
        raise ShapeError(f"{name}: expected at least crop_size={crop_size} pixels, got {size}")
    return size[0] - crop_size + 1, size[1] - crop_size + 1


def _check_inside(top_left: Tensor, last_row: int, last_column: int) -> None:
    """Raise if a crop leaves the image; steps aside under ``torch.compile``."""
    if not may_look(top_left):
        return
    fits = (top_left >= 0) & (top_left <= top_left.new_tensor([last_row, last_column]))
    if bool(fits.all()):
        return
    place = top_left[~fits.all(dim=2)][0].tolist()
    raise ValueError(
        f"top_left: expected rows from 0 to {last_row} and columns from 0 to {last_column}, "
        f"got {place}"
    )
