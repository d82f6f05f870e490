"""Pixel-adaptive refinement (PAR): spread mask scores between pixels of similar colour."""

from __future__ import annotations

import functools
import math
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
    offsets_of,
    propagate,
    runs_as_kernel,
)

COLOUR_BANDWIDTH = 0.3
POSITION_WEIGHT = 0.01


def pixel_adaptive_affinity(images: Tensor, dilations: Sequence[int]) -> Tensor:
    r"""Weights of the eight neighbours of every pixel at every dilation.

    With differences :math:`\delta_n` between a neighbour n and the pixel, in colour (per channel k)
    and in distance, each divided by its standard deviation :math:`\sigma` over the neighbours,

    .. math:: a_n = \mathrm{softmax}_n\Bigl(-\operatorname{mean}_k
              \bigl(\tfrac{\delta^{rgb}_{nk}}{0.3\,\sigma^{rgb}_k}\bigr)^2\Bigr)
              + 0.01\,\mathrm{softmax}_n\Bigl(-\bigl(\tfrac{\delta^{xy}_n}
              {0.3\,\sigma^{xy}}\bigr)^2\Bigr).

    The weights of a pixel sum to 1.01. Past the border the border pixel is repeated.

    Args:
        images: guidance, ``(B, K, H, W)``; only differences relative to their spread count, so
            brightness and contrast do not matter.
        dilations: distances of the neighbours in pixels.

    Returns:
        ``(B, 8 * len(dilations), H, W)``, in float32 for half-precision images.

    Raises:
        ShapeError: ``images`` has the wrong rank.
        TypeError: ``images`` is not floating point, or a dilation is no integer.
        ValueError: ``dilations`` is empty or holds a number below 1.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022, section "Pixel-Adaptive
        Refinement".

    Example:
        >>> affinity = pixel_adaptive_affinity(torch.rand(1, 3, 5, 6), dilations=(1, 2))
        >>> affinity.shape, bool(torch.allclose(affinity.sum(1), torch.tensor(1.01)))
        (torch.Size([1, 16, 5, 6]), True)
    """
    check_shape("images", images, "B K H W")
    check_floating("images", images)
    check_dilations(dilations)
    # Squared ratios of small differences overflow and underflow in half precision.
    with no_autocast(images):
        images = at_least_float32(images)
        if runs_as_kernel(images):
            from fsr.refine._affinity_kernel import affinity_at_once

            position = _position_here(tuple(dilations), images.device)
            return affinity_at_once(images, dilations, position, COLOUR_BANDWIDTH)
        scale = COLOUR_BANDWIDTH * (_neighbour_std(images, dilations) + 1e-8)
        colour = torch.stack(
            [
                -((neighbour - images) / scale).square().mean(dim=1)
                for neighbour in neighbours(images, dilations)
            ],
            dim=1,
        )
        return colour.softmax(dim=1) + _position_weights(dilations, images).view(1, -1, 1, 1)


class PAR(TypedModule):
    """Refine masks by spreading them over pixels of similar colour, without parameters.

    Args:
        num_iter: how often scores move to their neighbours.
        dilations: distances of the neighbours in pixels.

    Raises:
        TypeError: ``num_iter`` or a dilation is no integer.
        ValueError: one of them is less than 1, or there is no dilation.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022; used for the pseudo labels in
        section "A Single-Stage Framework for WSSS".

    Example:
        >>> par = PAR(num_iter=2, dilations=(1, 2))
        >>> par(torch.rand(1, 3, 32, 32), torch.rand(1, 5, 16, 16)).shape
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

        The result is differentiable in the masks; the images only guide and get no gradient. Each
        iteration multiplies the total by 1.01, which an argmax does not see.

        Args:
            images: ``(B, K, H, W)``, any range.
            masks: scores, ``(B, C, h, w)``, up-sampled bilinearly with aligned corners.

        Returns:
            ``(B, C, H, W)``, in float32 for half-precision masks.

        Raises:
            ShapeError: a rank is wrong, the batch sizes differ, or there is no channel.
            TypeError: an argument is not floating point.
            ValueError: a value is NaN or infinite.
        """
        check_pair(images, masks)
        with no_autocast(masks):
            masks = at_size_of(images, masks)
            affinity = pixel_adaptive_affinity(images.detach(), self.dilations).to(masks)
            for _ in range(self.num_iter):
                masks = propagate(masks, affinity, self.dilations)
        return masks

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"num_iter={self.num_iter}, dilations={self.dilations}"


def _position_weights(dilations: Sequence[int], like: Tensor) -> Tensor:
    """Return the part of the weights that only distance decides, ``(n,)``."""
    distance = torch.tensor(
        [math.hypot(*offset) for offset in offsets_of(dilations)],
        dtype=like.dtype,
        device=like.device,
    )
    position = -(distance / (COLOUR_BANDWIDTH * (distance.std() + 1e-8))).square()
    return POSITION_WEIGHT * position.softmax(dim=0)


@functools.lru_cache(maxsize=16)
def _position_here(dilations: tuple[int, ...], device: torch.device) -> Tensor:
    """Return these in float32, copied to a device once: the copy waits for the device."""
    return _position_weights(dilations, torch.empty(0)).to(device)


def _neighbour_std(images: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the standard deviation over the neighbours, ``(B, K, H, W)``, one at a time."""
    count = len(AROUND) * len(dilations)
    mean = sum(neighbours(images, dilations)) / count
    squares = sum((n - mean).square() for n in neighbours(images, dilations))
    return torch.as_tensor(squares / (count - 1)).sqrt()
