"""SEAM's normalised maps: of every channel alone, and with a background that competes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_positive
from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import at_least_float32
from fsr.cam._maps import EPS
from fsr.errors import ShapeError


def max_norm(cam: Tensor, eps: float = EPS) -> Tensor:
    r"""ReLU, then min-max over space for every channel, with what is near the minimum cut to 0.

    .. math:: m_i = \frac{\mathrm{ReLU}(r_i - \min r - \epsilon)}{\max r - \min r + \epsilon},
              \qquad r = \mathrm{ReLU}(z)

    Args:
        cam: raw scores z, ``(B, C, H, W)``, any real scale.
        eps: :math:`\epsilon` of at least 0; a constant map becomes 0 where it is above.

    Returns:
        Map from 0 to below 1, ``(B, C, H, W)``, in at least float32.

    Raises:
        ShapeError: ``cam`` has the wrong shape, or there is no pixel.
        TypeError: ``cam`` is not floating point, or ``eps`` is no number.
        ValueError: ``eps`` is negative.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> max_norm(torch.tensor([[[[-1.0, 1.0, 3.0]]]])).round(decimals=3)
        tensor([[[[0.0000, 0.3330, 1.0000]]]])
    """
    _check_maps(cam)
    check_positive("eps", eps)
    # A difference of half-precision scores would lose eps.
    rectified = F.relu(at_least_float32(cam))
    low = rectified.amin(dim=(2, 3), keepdim=True)
    high = rectified.amax(dim=(2, 3), keepdim=True)
    return F.relu(rectified - low - eps) / (high - low + eps)


def seam_normalize(cam: Tensor) -> Tensor:
    r"""What SEAM's pixel correlation spreads: the winning class of each pixel, and the background.

    .. math:: n_c = \frac{\mathrm{ReLU}(r_c - 10^{-5})}{\max_i r_{ci} + 10^{-5}}, \quad
              r = \mathrm{ReLU}(z), \qquad
              m_0 = 1 - \max_{c \ge 1} n_c, \qquad
              m_c = n_c\,[n_c = \max_{k \ge 1} n_k]

    The scores of the background channel itself are not read.

    Args:
        cam: raw scores z, background first, ``(B, C + 1, H, W)``, any real scale; constants.

    Returns:
        ``(B, C + 1, H, W)``, 0 to 1, in at least float32, without gradient.

    Raises:
        ShapeError: ``cam`` has the wrong shape, or there is no class beside the background or no
            pixel.
        TypeError: ``cam`` is not floating point.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> cam = torch.tensor([[[[9.0, 9.0]], [[1.0, 4.0]], [[2.0, 1.0]]]])
        >>> seam_normalize(cam)[0, :, 0].round(decimals=3)
        tensor([[0., 0.],
                [0., 1.],
                [1., 0.]])
    """
    _, channels, _, _ = _check_maps(cam, "B C+1 H W")
    if channels < 2:
        raise ShapeError(f"cam: expected a background and a class at least, got {tuple(cam.shape)}")
    classes = F.relu(at_least_float32(cam.detach())[:, 1:])
    classes = F.relu(classes - EPS) / (classes.amax(dim=(2, 3), keepdim=True) + EPS)
    return strongest_with_background(classes)


def strongest_with_background(maps: Tensor) -> Tensor:
    r"""Keep the largest class of each pixel, with its value, and put the background in front.

    .. math:: m_0 = 1 - \max_c n_c, \qquad m_c = n_c\,[n_c = \max_k n_k]

    Args:
        maps: normalised maps n of the classes, ``(B, C, H, W)``, 0 to 1.

    Returns:
        ``(B, C + 1, H, W)``, 0 to 1, in at least float32. Classes that share a maximum all keep it.

    Raises:
        ShapeError: ``maps`` has the wrong shape, or there is no class.
        TypeError: ``maps`` is not floating point.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> strongest_with_background(torch.tensor([[[[0.5, 0.0]], [[0.75, 0.25]]]]))[0, :, 0]
        tensor([[0.2500, 0.7500],
                [0.0000, 0.0000],
                [0.7500, 0.2500]])
    """
    _, classes, _, _ = check_shape("maps", maps, "B C H W")
    check_floating("maps", maps)
    if classes < 1:
        raise ShapeError(f"maps: expected at least one class, got {tuple(maps.shape)}")
    scores = at_least_float32(maps)
    best = scores.amax(dim=1, keepdim=True)
    return torch.cat([1 - best, scores.masked_fill(scores < best, 0.0)], dim=1)


def _check_maps(cam: Tensor, axes: str = "B C H W") -> tuple[int, ...]:
    """Return the shape of maps of floating-point numbers that have a pixel, or raise."""
    shape = check_shape("cam", cam, axes)
    check_floating("cam", cam)
    if min(shape[2:]) < 1:
        raise ShapeError(f"cam: expected at least one pixel, got {shape}")
    return shape
