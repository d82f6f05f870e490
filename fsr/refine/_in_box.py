"""Refinement of padded crops inside the box of their real pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_function
from fsr._core.boxes import check_box
from fsr._core.checks import (
    check_floating,
    check_multi_hot,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def refine_in_box(
    par: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    maps: Tensor,
    labels: Tensor,
    box: Tensor | None = None,
    *,
    down_scale: int = 2,
) -> Tensor:
    """Refine the maps of background and present classes along the edges of the real pixels.

    Image and maps are cut to the box, the image is reduced, the maps are refined on it and
    up-sampled to the box. No padding takes part, so that nothing spreads across the border between
    image and padding. The images go through the refinement one by one, as their boxes differ.

    Args:
        par: refinement ``par(images, masks) -> masks`` at the size of its images, such as
            :class:`fsr.refine.PAR`, which resizes the masks itself.
        images: RGB in [0, 1], ``(B, 3, H, W)``.
        maps: scores, ``(B, C + 1, H, W)``, background first.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        box: the real pixels of padded crops, ``(B, 4)`` integers top, bottom, left, right,
            half-open, as :class:`fsr.data.RandomRescaleCrop` gives them; all if None.
        down_scale: refine at this fraction of the box, a factor in each direction; sizes are
            rounded down, to one pixel at least.

    Returns:
        ``(B, C + 1, H, W)`` in at least float32, 0 outside the box and for absent classes; no
        gradient.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``images`` or ``maps`` is not floating point, ``box`` not of integers, or
            ``down_scale`` no integer.
        ValueError: a box is empty or leaves its image, or ``down_scale`` is below 1.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> from fsr.refine import PAR
        >>> images, maps = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
        >>> labels, box = torch.tensor([[1.0, 0.0]]), torch.tensor([[2, 8, 0, 8]])
        >>> refined = refine_in_box(PAR(2, (1,)), images, maps, labels, box)
        >>> refined.flatten(2).amax(2) > 0, bool(refined[..., :2, :].any())
        (tensor([[ True,  True, False]]), False)
    """
    check_function("par", par)
    batch, _, height, width = check_shape("images", images, "B channels H W", channels=3)
    _, channels, _, _ = check_shape("maps", maps, "B C+1 H W", B=batch, H=height, W=width)
    if channels < 2:
        raise ShapeError(f"maps: expected background and a class at least, got {channels} channels")
    check_shape("labels", labels, "B C", B=batch, C=channels - 1)
    check_multi_hot("labels", labels)
    check_same_device(images=images, maps=maps, labels=labels, box=box)
    check_floating("images", images)
    check_floating("maps", maps)
    check_positive_int("down_scale", down_scale)
    boxes = [[0, height, 0, width]] * batch
    if box is not None:
        check_box(box, batch, height, width)
        boxes = box.tolist()
    present = F.pad(labels > 0, (1, 0), value=True).tolist()
    with torch.no_grad(), no_autocast(maps):
        images, maps = at_least_float32(images), at_least_float32(maps)
        refined = torch.zeros_like(maps)
        for index, (top, bottom, left, right) in enumerate(boxes):
            part = images[index, None, :, top:bottom, left:right]
            size = (max(1, (bottom - top) // down_scale), max(1, (right - left) // down_scale))
            shown = [channel for channel, there in enumerate(present[index]) if there]
            masks = par(_resize(part, size), maps[index, None, shown, top:bottom, left:right])
            refined[index, shown, top:bottom, left:right] = _resize(masks, part.shape[2:])[0]
    return refined


def _resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize bilinearly, corners not aligned."""
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
