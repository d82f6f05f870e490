"""The maps of an image and of its smaller copy agree: SEAM's equivariance, within and crosswise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.cam import max_norm, strongest_with_background
from fsr.errors import ShapeError


def equivariance_losses(
    cam1: Tensor,
    revised1: Tensor,
    cam2: Tensor,
    revised2: Tensor,
    labels: Tensor,
    share: float = 0.2,
) -> tuple[Tensor, Tensor]:
    r"""Differences of the maps of two views, and of each view's with the other's revised maps.

    All maps are normalised at their own size by :func:`fsr.cam.max_norm`, those of view 1 resized
    to view 2's grid (bilinear, aligned corners), all times the labels (1 for the background):
    :math:`m^1, m^2` and, of the revised maps, :math:`v^1, v^2`. Then

    .. math:: L_{er} = \operatorname{mean}_{b, c \ge 1, i} |m^1 - m^2|, \qquad
              L_{ecr} = \operatorname{top}_k |w(m^2) - v^1| + \operatorname{top}_k |w(m^1) - v^2|,

    top is the mean of the k largest values of each image and over images,
    :math:`k = \lfloor \mathrm{share}\,(C + 1) H W \rfloor`. w keeps of the classes those that are
    the largest of their pixel, with their values, and has :math:`1 - \max_{c \ge 1} m_c` for the
    background; it has no gradient.

    Args:
        cam1: raw maps of view 1, background first, ``(B, C + 1, H, W)``.
        revised1: the same after :class:`fsr.refine.PixelCorrelation`, ``(B, C + 1, H, W)``.
        cam2: raw maps of view 2, ``(B, C + 1, h, w)``; SEAM makes view 2 of view 1 by 0.3.
        revised2: likewise revised, ``(B, C + 1, h, w)``.
        labels: multi-hot image-level labels of the classes, ``(B, C)``, values in [0, 1].
        share: which part of an image's values counts in :math:`L_{ecr}`, 0 to 1.

    Returns:
        :math:`L_{er}` and :math:`L_{ecr}`, scalars of at least 0, in at least float32. Where k is
        0, the second is a zero that is attached to the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or there is no image, class or
            pixel.
        TypeError: a map is not floating point, or ``share`` no number.
        ValueError: ``share`` is outside 0 to 1.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> import torch
        >>> view1 = torch.rand(2, 4, 20, 20, generator=torch.Generator().manual_seed(0))
        >>> view2 = torch.nn.functional.interpolate(view1, (6, 6))
        >>> er, ecr = equivariance_losses(view1, view1, view2, view2, torch.ones(2, 3))
        >>> bool(0 < er < ecr)
        True
    """
    batch, channels = _check_views(cam1, revised1, cam2, revised2)
    check_shape("labels", labels, "B C", B=batch, C=channels - 1)
    check_multi_hot("labels", labels)
    check_same_device(cam1=cam1, labels=labels)
    check_between("share", share, 0.0, 1.0)
    with no_autocast(cam1):
        size = cam2.shape[2:]
        present = F.pad(labels.to(at_least_float32(cam2).dtype), (1, 0), value=1.0)[
            :, :, None, None
        ]
        maps1, fixed1 = (_on_grid(max_norm(maps), size) * present for maps in (cam1, revised1))
        maps2, fixed2 = (max_norm(maps) * present for maps in (cam2, revised2))
        within = (maps1[:, 1:] - maps2[:, 1:]).abs().mean()
        count = int(share * channels * size[0] * size[1])
        crosswise = [
            _largest((strongest_with_background(maps.detach()[:, 1:]) - fixed).abs(), count)
            for maps, fixed in ((maps2, fixed1), (maps1, fixed2))
        ]
        return within, crosswise[0] + crosswise[1]


def _on_grid(maps: Tensor, size: torch.Size) -> Tensor:
    """Resize maps bilinearly with aligned corners."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


def _largest(errors: Tensor, count: int) -> Tensor:
    """Mean of the ``count`` largest errors of each image, and over the images."""
    kept = errors.flatten(1).topk(count, dim=1).values
    return kept.sum() / (errors.shape[0] * max(count, 1))


def _check_views(cam1: Tensor, revised1: Tensor, cam2: Tensor, revised2: Tensor) -> tuple[int, int]:
    """Return batch and channels of maps that fit each other, or raise."""
    batch, channels, height, width = check_shape("cam1", cam1, "B C+1 H W")
    sizes = {"B": batch, "C+1": channels}
    check_shape("revised1", revised1, "B C+1 H W", H=height, W=width, **sizes)
    _, _, small_height, small_width = check_shape("cam2", cam2, "B C+1 h w", **sizes)
    check_shape("revised2", revised2, "B C+1 h w", h=small_height, w=small_width, **sizes)
    check_same_device(cam1=cam1, revised1=revised1, cam2=cam2, revised2=revised2)
    named = {"cam1": cam1, "revised1": revised1, "cam2": cam2, "revised2": revised2}
    for name, maps in named.items():
        check_floating(name, maps)
    if channels < 2 or batch < 1:
        raise ShapeError(
            f"cam1: expected an image, a background and a class at least, got {tuple(cam1.shape)}"
        )
    for name in ("cam1", "cam2"):
        if named[name].numel() == 0:
            raise ShapeError(f"{name}: expected at least one pixel, got {tuple(named[name].shape)}")
    return batch, channels
