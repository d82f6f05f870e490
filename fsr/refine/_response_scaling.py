"""URN's uncertainty: what changes its class when the scores of one class are scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_between, check_floating, check_shape, check_unit_interval
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError

# Powers that a class's scores are raised to: below 1 it spreads, above 1 it shrinks.
RESPONSE_SCALES = (0.15, 0.2, 0.25, 4.0, 5.0, 6.0)
# Keeps the range of an uncertainty that is constant away from 0.
EPS = 1e-6


@torch.no_grad()
def response_scaling_uncertainty(
    scores: Tensor,
    scales: Sequence[float] = RESPONSE_SCALES,
    refine: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""How little the classes of an image's pixels hold when the scores of one class are scaled.

    Let P be the classes that win a pixel of the refined scores. For each class c of P and each
    power s, the scores of P compete once more, :math:`q_c^s` against the unscaled others, not
    renormalised and refined together; :math:`m_{cs}` is 1 where c wins. Then

    .. math:: v = \max_{c \in P} \operatorname*{var}_s m_{cs},
              \qquad u = \frac{v - \min v}{\max v - \min v + 10^{-6}}

    A pixel that changes hands with the power is uncertain. Where P is a single class nothing can
    change, and u is 0.

    Args:
        scores: probabilities of one image, ``(C+1, h, w)``, 0 to 1.
        scales: powers s.
        refine: refinement of maps ``(K, h, w)`` to maps of the same shape, any K, such as a
            :class:`fsr.refine.DenseCRF` on the image with the settings ``"urn"``; None for none. It
            runs once on all classes, and once for each class of P and power on the classes of P.

    Returns:
        u, ``(h, w)`` in at least float32, from 0 to below 1.

    Raises:
        ShapeError: ``scores`` or what ``refine`` returns has the wrong shape.
        TypeError: ``scores`` is not floating point, or a power no number.
        ValueError: ``scores`` holds NaN or values outside 0 to 1, there is no power, or one is not
            positive.

    Source:
        Li et al., "Uncertainty Estimation via Response Scaling for Pseudo-mask Noise Mitigation in
        Weakly-supervised Semantic Segmentation" (URN), AAAI 2022; XMed-Lab/URN@5e56e5e.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.5, 0.0]], [[0.1, 0.4, 1.0]]])
        >>> response_scaling_uncertainty(scores, (0.2, 1.0, 2.0))
        tensor([[0.0000, 1.0000, 0.0000]])
    """
    classes, height, width = check_shape("scores", scores, "C+1 h w")
    check_floating("scores", scores, finite=False)
    if min(classes, height, width) < 1:
        raise ShapeError(
            f"scores: expected at least one class and pixel, got {tuple(scores.shape)}"
        )
    check_unit_interval(scores=scores)
    check_sequence("scales", scales, "numbers")
    powers = tuple(scales)
    if not powers:
        raise ValueError("scales: expected at least one power, got none")
    for power in powers:
        check_between("scales", power, 0.0, float("inf"), inclusive=False)

    # Interpolated scores may be a little outside: below 0 there is no fractional power.
    maps = at_least_float32(scores).clamp(0, 1)
    present = _refined(maps, refine).argmax(dim=0).unique()
    competing = maps[present]
    largest = maps.new_zeros(height, width)
    for place in range(len(present)):
        wins = maps.new_zeros(height, width)
        for power in powers:
            scaled = competing.clone()
            scaled[place] **= power
            wins += _refined(scaled, refine).argmax(dim=0) == place
        share = wins / len(powers)
        # The variance of numbers that are 0 or 1.
        largest = torch.maximum(largest, share * (1 - share))
    lowest = largest.min()
    return (largest - lowest) / (largest.max() - lowest + EPS)


def uncertainty_weights(uncertainty: Tensor) -> Tensor:
    """Weights 255 (1 - u), cut to whole numbers, as they are kept in a file beside the labels.

    Args:
        uncertainty: u of :func:`response_scaling_uncertainty`, any shape, 0 to 1.

    Returns:
        uint8 of the same shape, 255 where a label is certain: the ``weights`` of
        :func:`fsr.losses.weighted_cross_entropy`.

    Raises:
        TypeError: ``uncertainty`` is no tensor or not floating point.
        ValueError: ``uncertainty`` holds NaN or values outside 0 to 1.

    Source:
        XMed-Lab/URN@5e56e5e.

    Example:
        >>> uncertainty_weights(torch.tensor([0.0, 0.3, 1.0]))
        tensor([255, 178,   0], dtype=torch.uint8)
    """
    if not isinstance(uncertainty, Tensor):
        raise TypeError(f"uncertainty: expected a tensor, got {type(uncertainty).__name__}")
    check_floating("uncertainty", uncertainty)
    if uncertainty.numel() == 0:
        return uncertainty.to(torch.uint8)
    check_unit_interval(uncertainty=uncertainty)
    return (255 * (1 - at_least_float32(uncertainty)).clamp(0, 1)).to(torch.uint8)


def _refined(maps: Tensor, refine: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Refine maps, checking what comes back."""
    if refine is None:
        return maps
    refined = refine(maps)
    if refined.shape != maps.shape:
        raise ShapeError(
            f"refine: expected to return shape {tuple(maps.shape)}, got {tuple(refined.shape)}"
        )
    return refined.to(maps.device)
