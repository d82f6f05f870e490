"""Equations 3 and 4: the uncertain zone, the soft mask, the count and the k largest."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from fsr._core.arguments import check_int, check_number
from fsr._core.checks import (
    check_between,
    check_bool,
    check_choice,
    check_dense,
    check_floating,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError

Rounding = Literal["floor", "ceil"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)


def mask_count(ratio: float, total: int, rounding: Rounding = "floor") -> int:
    r"""The k of Eq. 4, :math:`\lfloor HW \cdot r \rfloor`, safe against float error.

    Args:
        ratio: share r to mask, in (0, 1).
        total: number of patches (or blocks), HW.
        rounding: ``"floor"`` as in the paper, or ``"ceil"``.

    Returns:
        The number of patches to mask.

    Raises:
        TypeError: ``ratio`` is no number.
        ValueError: ``ratio`` lies outside (0, 1), or ``rounding`` is unknown.

    Source:
        Eq. 4.

    Example:
        >>> int(0.29 * 100), mask_count(0.29, 100), mask_count(0.29, 100, "ceil")
        (28, 29, 29)
    """
    check_positive_int("total", total)
    check_between("ratio", ratio, 0, 1, inclusive=False)
    check_choice("rounding", rounding, ROUNDINGS)
    # If the ratio is the float nearest to n / total, then n is what was meant.
    nearest = round(ratio * total)
    if nearest / total == ratio:
        return nearest
    # Integers from here on: the product of the exact fraction never rounds.
    numerator, denominator = float(ratio).as_integer_ratio()
    if rounding == "floor":
        return numerator * total // denominator
    return -(-numerator * total // denominator)


def uncertain_zone(score: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    r"""Condition of Eq. 3: :math:`\beta_l < \max_c M_c < \beta_h`, both strict.

    Args:
        score: maximum of the normalised CAM over the present classes, any shape, 0 to 1.
        low: :math:`\beta_l`; a score of at most this is surely background. A number, or one for
            each score, in at least float32.
        high: :math:`\beta_h`; a score of at least this is surely foreground. Likewise.

    Returns:
        Boolean of the same shape, True = uncertain.

    Source:
        Eq. 3.

    Example:
        >>> uncertain_zone(torch.tensor([0.2, 0.5, 0.7]), 0.2, 0.7)
        tensor([False,  True, False])
    """
    # Half-precision thresholds would be other numbers: 0.7 is 0.69922 in bfloat16.
    check_dense("score", score)
    _check_thresholds(score, low, high)
    score = at_least_float32(score)
    return (score > low) & (score < high)


def soft_mask(zone: Tensor, noise: Tensor) -> Tensor:
    """Soft mask :math:`M_s` of Eq. 3: u + 1 in the uncertain zone, u elsewhere.

    Args:
        zone: boolean, True = uncertain, any shape.
        noise: the u of Eq. 3, 0 to 1, of the same shape.

    Returns:
        Values of the same shape, in at least float32; every uncertain one above every other.

    Source:
        Eq. 3.

    Example:
        >>> soft_mask(torch.tensor([True, False]), torch.tensor([0.25, 0.75]))
        tensor([1.2500, 0.7500])
    """
    # u = 1 outside the zone must not tie with u = 0 inside it; the text draws from (0, 1).
    check_dense("zone", zone)
    check_bool("zone", zone)
    check_dense("noise", noise)
    if zone.shape != noise.shape:
        raise ShapeError(
            f"noise: expected the zone's shape {tuple(zone.shape)}, got {tuple(noise.shape)}"
        )
    check_same_device(zone=zone, noise=noise)
    check_floating("noise", noise)
    noise = at_least_float32(noise)
    return torch.where(zone, noise + 1, noise.clamp(max=1 - torch.finfo(noise.dtype).eps / 2))


def strict_mask(
    score: Tensor, low: float | Tensor, high: float | Tensor, *, from_border: bool = False
) -> Tensor:
    r"""Mask exactly the zone of Eq. 3, but never every patch: the most certain one stays.

    Args:
        score: maximum of the normalised CAM over the present classes, ``(B, H, W)``, 0 to 1.
        low: :math:`\beta_l`, see :func:`uncertain_zone`.
        high: :math:`\beta_h`, likewise.
        from_border: measure certainty by the distance to the nearer threshold rather than from
            their middle, which matters where patches have zones of different widths.

    Returns:
        Boolean ``(B, H, W)``, True = masked.

    Raises:
        ShapeError: ``score`` has the wrong shape.

    Source:
        Table 3, "Strict".

    Example:
        >>> strict_mask(torch.tensor([[[0.5, 0.6]], [[0.1, 0.6]]]), 0.2, 0.7)
        tensor([[[ True, False]],
        <BLANKLINE>
                [[False,  True]]])
    """
    check_shape("score", score, "B H W")
    check_same_device(score=score, low=low, high=high)
    check_floating("score", score)
    zone = uncertain_zone(score, low, high)
    certainty = (score - (low + high) / 2).abs()
    if from_border:
        certainty = certainty - (high - low) / 2
    return keep_one(zone.flatten(1), certainty.flatten(1)).view_as(zone)


def top_k_mask(soft: Tensor, count: int) -> Tensor:
    """Binary mask :math:`M_b` of Eq. 4: the ``count`` largest values of every row.

    Args:
        soft: soft mask, ``(B, N)``.
        count: the k of Eq. 4, 0 to N; see :func:`mask_count`.

    Returns:
        Boolean ``(B, N)`` with exactly ``count`` True in every row; of equal values the first win.

    Raises:
        ShapeError: ``soft`` has the wrong shape.
        ValueError: ``count`` lies outside 0 to N.

    Source:
        Eq. 4.

    Example:
        >>> top_k_mask(torch.tensor([[0.1, 1.5, 0.9]]), 2)
        tensor([[False,  True,  True]])
    """
    _, total = check_shape("soft", soft, "B N")
    check_int("count", count)
    check_between("count", count, 0, total)
    # A stable sort keeps the count exact and the choice repeatable where values are equal.
    order = soft.argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(soft, dtype=torch.bool).scatter(1, order[:, :count], True)


def keep_one(mask: Tensor, certainty: Tensor) -> Tensor:
    """Unmask the most certain patch of every row that is masked completely.

    Args:
        mask: boolean ``(B, N)``, True = masked.
        certainty: ``(B, N)``, larger = more certain; of equal values one is taken.

    Returns:
        Boolean ``(B, N)`` with at least one False in every row.

    Raises:
        ShapeError: the shapes are wrong or differ.
        TypeError: ``mask`` is not boolean.

    Example:
        >>> keep_one(torch.tensor([[True, True]]), torch.tensor([[0.1, 0.4]]))
        tensor([[ True, False]])
    """
    batch, total = check_shape("mask", mask, "B N")
    check_shape("certainty", certainty, "B N", B=batch, N=total)
    check_same_device(mask=mask, certainty=certainty)
    check_bool("mask", mask)
    if certainty.dtype == torch.bool:
        raise TypeError("certainty: expected numbers, got torch.bool")
    if certainty.is_floating_point():
        check_floating("certainty", certainty)
    best = certainty.argmax(dim=1, keepdim=True)
    full = mask.all(dim=1, keepdim=True)
    return mask.scatter(1, best, ~full & mask.gather(1, best))


def _check_thresholds(score: Tensor, low: float | Tensor, high: float | Tensor) -> None:
    """Raise unless each threshold is a number, or a tensor that fits the score."""
    for name, value in (("low", low), ("high", high)):
        if not isinstance(value, Tensor):
            check_number(name, value)
            continue
        check_dense(name, value)
        check_same_device(score=score, **{name: value})
        if value.ndim > score.ndim or any(
            own not in (1, other)
            for own, other in zip(reversed(value.shape), reversed(score.shape), strict=False)
        ):
            raise ShapeError(
                f"{name}: expected a number or a shape that fits the score's "
                f"{tuple(score.shape)}, got {tuple(value.shape)}"
            )
