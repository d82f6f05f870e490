"""Pseudo labels: refined class activation maps as label maps with an unknown zone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_function
from fsr._core.boxes import check_box, outside_box
from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_positive_int,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.labels import chosen_ignore
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.present import labels_of_classes, maps_of_classes, present_classes
from fsr.cam import BACKGROUND


def pseudo_labels(
    par: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    cams: Tensor,
    labels: Tensor,
    *,
    low: float,
    high: float,
    down_scale: int = 2,
    ignore_index: int | None = None,
    box: Tensor | None = None,
) -> Tensor:
    """Label maps that supervise the segmentation, from CAMs refined along image edges.

    The background gets the constant score ``low``, and once more ``high``; each time it and the
    classes that the image shows go through a softmax, the refinement and an argmax. A pixel that is
    background at ``low`` and at ``high`` is background; one that is background only at ``high`` is
    unknown; the others take their class.

    Args:
        par: refinement ``par(images, masks) -> masks`` at the size of its images, channel by
            channel, such as :class:`fsr.refine.PAR`.
        images: RGB in [0, 1], ``(B, 3, height, width)``.
        cams: normalised CAMs (Eq. 2), ``(B, C, h, w)`` of any size, 0 to 1.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        low: background score that weak regions fall below; 0 to 1, below ``high``.
        high: background score that only confident regions exceed; 0 to 1.
        down_scale: refine at this fraction of the image size, a factor in each direction.
        ignore_index: label of unknown pixels; None is that of :func:`fsr.cam.ignore_label`: 255 of
            at most 254 classes.
        box: the real pixels of padded crops, ``(B, 4)`` integers top, bottom, left, right,
            half-open, as :class:`fsr.data.RandomRescaleCrop` gives them. What lies outside is
            unknown; the refinement sees the whole crop, padding included, as in ToCo. To keep
            padding out of it too, see :func:`fsr.refine.refine_in_box`.

    Returns:
        ``(B, height, width)`` int64: 0 background, c + 1 class c, ``ignore_index`` unknown.

    Raises:
        ShapeError: a shape is wrong.
        TypeError: ``images`` or ``cams`` is not floating point, ``box`` not of integers, or an
            option no number.
        ValueError: thresholds are out of range or order, CAMs outside 0 to 1 or NaN, images NaN or
            smaller than ``down_scale``, or a box is empty or leaves its image.

    Source:
        Section "A Single-Stage Framework for WSSS"; Ru et al., "Token Contrast for Weakly
        Supervised Semantic Segmentation", CVPR 2023 (rulixiang/ToCo@e13514d, with the box).

    Example:
        >>> from fsr.refine import PAR
        >>> images = torch.zeros(1, 3, 4, 12)
        >>> images[..., 4:8], images[..., 8:] = 0.5, 1.0
        >>> cams = images[:, :1].clone()
        >>> pseudo_labels(PAR(2, (1,)), images, cams, torch.ones(1, 1), low=0.2, high=0.7)[0, 0]
        tensor([  0,   0,   0,   0, 255, 255, 255, 255,   1,   1,   1,   1])
    """
    check_function("par", par)
    _check_inputs(images, cams, labels)
    ignore_index = chosen_ignore(ignore_index, cams.shape[1])
    batch, _, height, width = images.shape
    if box is not None:
        check_same_device(images=images, box=box)
        check_box(box, batch, height, width)
    _check_levels(low, high)
    size = _small_size((height, width), down_scale)

    # Colour differences and thresholds: nothing that half precision should touch.
    with torch.no_grad(), no_autocast(images):
        shown, present = present_classes(labels)
        scores = _resize(at_least_float32(maps_of_classes(cams, shown)), size)
        # The refinement works channel by channel, so that both levels can share one call.
        maps = [_with_background(scores, present, level) for level in (high, low)]
        refined = par(_resize(at_least_float32(images), size), torch.cat(maps, dim=1))
        refined = _resize(refined, (height, width))
        strict, lenient = (_winner(part, shown) for part in refined.chunk(2, dim=1))
    result = strict.masked_fill(strict == BACKGROUND, ignore_index)
    result = result.masked_fill((strict == BACKGROUND) & (lenient == BACKGROUND), BACKGROUND)
    if box is None:
        return result
    return result.masked_fill(outside_box(box.to(result.device), height, width), ignore_index)


def _check_inputs(images: Tensor, cams: Tensor, labels: Tensor) -> None:
    """Raise unless images, CAMs and labels fit each other and the CAMs are normalised."""
    batch, *_ = check_shape("images", images, "B channels H W", channels=3)
    _, classes, _, _ = check_shape("cams", cams, "B C h w", B=batch)
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(images=images, cams=cams, labels=labels)
    check_floating("images", images)
    check_floating("cams", cams, finite=False)
    check_unit_interval(cams=cams, labels=labels)


def _check_levels(low: float, high: float) -> None:
    """Raise unless both background scores are in [0, 1] and in order."""
    check_between("low", low, 0.0, 1.0)
    check_between("high", high, 0.0, 1.0)
    if low >= high:
        raise ValueError(f"low: expected less than high={high}, got {low}")


def _small_size(size: tuple[int, int], down_scale: int) -> tuple[int, int]:
    """Return the size that is refined at, or raise if nothing would be left."""
    check_positive_int("down_scale", down_scale)
    small = (size[0] // down_scale, size[1] // down_scale)
    if min(small) < 1:
        raise ValueError(
            f"images: expected at least down_scale={down_scale} pixels in height and width, "
            f"got {size}"
        )
    return small


def _with_background(scores: Tensor, present: Tensor, level: float) -> Tensor:
    """Put a constant background channel first; softmax over it and the present classes."""
    scores = scores.masked_fill(~present[:, :, None, None], -torch.inf)
    background = torch.full_like(scores[:, :1], level)
    return torch.cat([background, scores], dim=1).softmax(dim=1)


def _winner(refined: Tensor, shown: Tensor) -> Tensor:
    """Return the label of the strongest channel, ``(B, height, width)``."""
    # Channels that only fill up the batch are 0 everywhere: the background always beats them.
    return labels_of_classes(refined.argmax(dim=1), shown)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly, corners not aligned."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
