"""Masks that a network learns from itself: refined along the image, then the confident part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_function
from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def refine_masks(
    pamr: Callable[[Tensor, Tensor], Tensor], images: Tensor, masks: Tensor, labels: Tensor
) -> Tensor:
    """Masks refined at their own size, up-sampled to the images, without absent classes.

    The images are reduced to the grid of the masks, bilinearly with aligned corners, so that the
    refinement reaches as far as a mask's neighbours and costs as little; the refined masks grow to
    the size of the images in the same way.

    Args:
        pamr: refinement ``pamr(images, masks) -> masks`` at the size of its images, such as
            :class:`PAMR`.
        images: guidance, ``(B, K, H, W)``.
        masks: masks with background first, ``(B, C + 1, h, w)``.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        ``(B, C + 1, H, W)``, in at least float32 and without gradient; 0 for absent classes.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or there is no pixel.
        TypeError: ``images`` or ``masks`` is not floating point.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> from fsr.refine import PAMR
        >>> masks = torch.full((1, 3, 4, 4), 1 / 3)
        >>> refined = refine_masks(PAMR(), torch.rand(1, 3, 8, 8), masks, torch.tensor([[0, 1]]))
        >>> refined.shape, refined.amax(dim=(2, 3))
        (torch.Size([1, 3, 8, 8]), tensor([[0.3333, 0.0000, 0.3333]]))
    """
    check_function("pamr", pamr)
    batch, _, *size = check_shape("images", images, "B K H W")
    _, channels, *grid = check_shape("masks", masks, "B C+1 h w", B=batch)
    check_shape("labels", labels, "B C", B=batch, C=channels - 1)
    check_multi_hot("labels", labels)
    check_same_device(images=images, masks=masks, labels=labels)
    check_floating("images", images)
    check_floating("masks", masks)
    if min(*size, *grid) < 1:
        raise ShapeError(
            f"images, masks: expected at least one pixel, got {tuple(images.shape)} and "
            f"{tuple(masks.shape)}"
        )
    with torch.no_grad(), no_autocast(masks):
        reduced = _resize(at_least_float32(images), grid)
        refined = _resize(pamr(reduced, at_least_float32(masks)), size)
        # The background is in every image.
        absent = F.pad(labels <= 0, (1, 0), value=False)
        return refined.masked_fill(absent[:, :, None, None], 0.0)


def confident_masks(
    masks: Tensor, top: float = 0.6, background_top: float = 0.7, lowest: float = 0.2
) -> Tensor:
    r"""Pixels that exactly one class is sure of, as masks of 0 and 1.

    A class claims the pixels whose value lies above its threshold, a share of the largest value
    that it has in the image,

    .. math:: m_{c,i} > \max\bigl(t_c \max_j m_{c,j},\ \text{lowest}\bigr),

    with t the ``background_top`` for the background and ``top`` for the others. Pixels that two
    classes claim are given to neither.

    Args:
        masks: masks with background first, ``(B, C + 1, H, W)``, 0 to 1 and 0 for absent classes,
            from :func:`refine_masks`.
        top: share of the largest value for foreground classes, 0 to 1.
        background_top: that of the background, 0 to 1.
        lowest: no threshold is lower, 0 to 1: an absent class claims nothing.

    Returns:
        ``(B, C + 1, H, W)`` of 0 and 1, in the type of the masks, at most one 1 a pixel.

    Raises:
        ShapeError: ``masks`` has the wrong shape, or there is no channel or pixel.
        TypeError: ``masks`` is not floating point, or an option is no number.
        ValueError: an option is outside 0 to 1.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> masks = torch.tensor([[[[0.1, 0.5, 0.9]], [[0.8, 0.5, 0.1]]]])  # background, one class
        >>> confident_masks(masks)
        tensor([[[[0., 0., 1.]],
        <BLANKLINE>
                 [[1., 1., 0.]]]])
    """
    _, channels, *size = check_shape("masks", masks, "B C+1 H W")
    check_floating("masks", masks)
    if min(channels, *size) < 1:
        raise ShapeError(
            f"masks: expected at least one channel and pixel, got {tuple(masks.shape)}"
        )
    check_between("top", top, 0, 1)
    check_between("background_top", background_top, 0, 1)
    check_between("lowest", lowest, 0, 1)
    with torch.no_grad(), no_autocast(masks):
        scores = at_least_float32(masks)
        highest = scores.amax(dim=(2, 3), keepdim=True)
        shares = torch.full_like(highest, top)
        shares[:, 0] = background_top
        claimed = scores > (highest * shares).clamp(min=lowest)
        alone = claimed & (claimed.sum(dim=1, keepdim=True) == 1)
        return alone.to(masks.dtype)


def _resize(maps: Tensor, size: list[int]) -> Tensor:
    """Resize bilinearly with aligned corners; nothing to do at the right size."""
    if list(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)
