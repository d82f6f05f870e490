"""Pixel-adaptive mask refinement (PAMR): masks averaged over neighbours of similar colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fsr._core.checks import check_floating, check_positive_int, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.refine._dilated import (
    AROUND,
    at_size_of,
    check_dilations,
    check_pair,
    neighbours,
    propagate,
)

COLOUR_BANDWIDTH = 0.1


def pamr_affinity(images: Tensor, dilations: Sequence[int]) -> Tensor:
    r"""Weights of the eight neighbours of every pixel at every dilation, as PAMR has them.

    .. math:: a_n = \mathrm{softmax}_n\Bigl(-\operatorname{mean}_k
              \tfrac{|x_k - x_{nk}|}{10^{-8} + 0.1\,\sigma_k}\Bigr),

    where :math:`\sigma_k` is the standard deviation of colour channel k over the pixel and its
    neighbours, the pixel once for every dilation. The weights of a pixel sum to 1. Past the border
    the border pixel is repeated.

    :func:`pixel_adaptive_affinity`, that of PAR, squares the differences, divides them by
    0.3 sigma of the neighbours alone, and adds a term of position.

    Args:
        images: guidance, ``(B, K, H, W)``; only differences relative to their spread count.
        dilations: distances of the neighbours in pixels.

    Returns:
        ``(B, 8 * len(dilations), H, W)``, in float32 for half-precision images.

    Raises:
        ShapeError: ``images`` has the wrong rank.
        TypeError: ``images`` is not floating point, or a dilation is no integer.
        ValueError: ``dilations`` is empty or holds a number below 1.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.3; visinf/1-stage-wseg@d905fca.

    Example:
        >>> affinity = pamr_affinity(torch.rand(1, 3, 5, 6), dilations=(1, 2))
        >>> affinity.shape, bool(torch.allclose(affinity.sum(1), torch.ones(1)))
        (torch.Size([1, 16, 5, 6]), True)
    """
    check_shape("images", images, "B K H W")
    check_floating("images", images)
    check_dilations(dilations)
    # Ratios of small differences overflow and underflow in half precision.
    with no_autocast(images):
        images = at_least_float32(images)
        scale = 1e-8 + COLOUR_BANDWIDTH * _spread(images, dilations)
        distances = [
            ((images - neighbour).abs() / scale).mean(dim=1)
            for neighbour in neighbours(images, dilations)
        ]
        return torch.stack(distances, dim=1).neg().softmax(dim=1)


class PAMR(TypedModule):
    """Refine masks by averaging them over pixels of similar colour, without parameters.

    Args:
        num_iter: how often the masks are averaged.
        dilations: distances of the neighbours in pixels.

    Raises:
        TypeError: ``num_iter`` or a dilation is no integer.
        ValueError: one of them is less than 1, or there is no dilation.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.3; visinf/1-stage-wseg@d905fca.

    Example:
        >>> pamr = PAMR(num_iter=2, dilations=(1, 2))
        >>> pamr(torch.rand(1, 3, 32, 32), torch.rand(1, 5, 16, 16)).shape
        torch.Size([1, 5, 32, 32])
    """

    def __init__(self, num_iter: int = 10, dilations: Sequence[int] = (1, 2, 4, 8, 12, 24)) -> None:
        super().__init__()
        check_positive_int("num_iter", num_iter)
        check_dilations(dilations)
        self.num_iter = num_iter
        self.dilations = tuple(dilations)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Return the masks refined at the size of the images.

        The result is differentiable in the masks; the images only guide and get no gradient.

        Args:
            images: ``(B, K, H, W)``, any range.
            masks: scores, ``(B, C, h, w)``, up-sampled bilinearly with aligned corners.

        Returns:
            ``(B, C, H, W)``, in float32 for half-precision masks; within the range of the masks.

        Raises:
            ShapeError: a rank is wrong, the batch sizes differ, or there is no channel.
            TypeError: an argument is not floating point.
            ValueError: a value is NaN or infinite.
        """
        check_pair(images, masks)
        with no_autocast(masks):
            masks = at_size_of(images, masks)
            affinity = pamr_affinity(images.detach(), self.dilations).to(masks)
            for _ in range(self.num_iter):
                masks = propagate(masks, affinity, self.dilations)
        return masks

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"num_iter={self.num_iter}, dilations={self.dilations}"


def _spread(images: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the standard deviation over pixel and neighbours, the pixel once a dilation."""
    centres = len(dilations)
    count = (len(AROUND) + 1) * centres
    mean = (sum(neighbours(images, dilations)) + centres * images) / count
    squares = sum((n - mean).square() for n in neighbours(images, dilations))
    return ((squares + centres * (images - mean).square()) / (count - 1)).sqrt()
