"""Activation maps spread along the affinity of patches, as a random walk of one step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.affinity._pairs import check_pairs
from fsr.errors import ShapeError


def propagate(
    maps: Tensor,
    affinity: Tensor,
    *,
    mask: Tensor | None = None,
    power: int = 2,
    eps: float = 1e-4,
) -> Tensor:
    r"""Replace the score of every patch by those of the patches that it is alike to.

    With the affinity a, set to 0 outside the mask,

    .. math:: M'_{cj} = \sum_i M_{ci} \frac{a_{ij}^p}{\epsilon + \sum_k a_{kj}^p}

    Columns are divided by their sums. The affinity is a constant here and stays as it is (the
    released function writes the zeros into its input).

    Args:
        maps: scores M, ``(B, C, H, W)`` or ``(B, C, N)`` in row-major order.
        affinity: a, ``(B, N, N)``, at least 0, from :class:`AttentionAffinity`.
        mask: pairs that count, ``(N, N)`` bool, from :func:`radius_mask`; all if None.
        power: p, of each element, at least 1.
        eps: added to the sums, above 0.

    Returns:
        The maps' shape, in at least float32; 0 for a patch that is alike to none.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``maps`` or ``affinity`` is not floating point, ``mask`` not boolean, or an
            option of the wrong type.
        ValueError: ``power`` is below 1, or ``eps`` not above 0.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> affinity = torch.tensor([[[1.0, 0.5], [1.0, 0.5]]])
        >>> propagate(torch.tensor([[[1.0, 0.0]]]), affinity).round(decimals=3)
        tensor([[[0.5000, 0.5000]]])
    """
    _check_maps("maps", maps, affinity)
    walk = _transitions(affinity, mask, power, eps)
    with no_autocast(walk):
        return (at_least_float32(maps).flatten(2).to(walk) @ walk).view(maps.shape)


def propagate_with_background(
    cam: Tensor,
    affinity: Tensor,
    labels: Tensor,
    background: float,
    *,
    mask: Tensor | None = None,
    power: int = 2,
    eps: float = 0.1,
) -> Tensor:
    r"""Spread the scores of background and present classes together, as probabilities.

    The background gets a constant score; a softmax over it and the classes that the image shows
    gives the probabilities of each patch, which :func:`propagate` spreads. Absent classes stay 0.
    ``eps`` is larger than that of :func:`propagate`, as released.

    Args:
        cam: normalised CAM, ``(B, C, H, W)`` or ``(B, C, N)``, 0 to 1.
        affinity: ``(B, N, N)``, at least 0, from :class:`AttentionAffinity`.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        background: score of the background, in [0, 1].
        mask: pairs that count, ``(N, N)`` bool, from :func:`radius_mask`; all if None.
        power: power of each affinity, at least 1.
        eps: added to the sums of the affinities, above 0.

    Returns:
        ``(B, C + 1, H, W)`` or ``(B, C + 1, N)``, background first, in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``cam`` or ``affinity`` is not floating point, ``mask`` not boolean, or an option
            of the wrong type.
        ValueError: an option is out of range.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> cam, affinity = torch.tensor([[[0.5], [0.9]]]), torch.ones(1, 1, 1)
        >>> labels = torch.tensor([[1.0, 0.0]])
        >>> propagate_with_background(cam, affinity, labels, 0.5, eps=1e-9).round(decimals=3)
        tensor([[[0.5000],
                 [0.5000],
                 [0.0000]]])
    """
    _check_maps("cam", cam, affinity)
    batch, classes = cam.shape[:2]
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(affinity=affinity, labels=labels, mask=mask)
    check_between("background", background, 0.0, 1.0)
    present = (labels > 0).view(batch, classes, *[1] * (cam.ndim - 2))
    scores = at_least_float32(cam).masked_fill(~present, -torch.inf)
    constant = torch.full_like(scores[:, :1], background)
    probabilities = torch.cat([constant, scores], dim=1).softmax(dim=1)
    return propagate(probabilities, affinity, mask=mask, power=power, eps=eps)


def _transitions(affinity: Tensor, mask: Tensor | None, power: int, eps: float) -> Tensor:
    """Return the affinities inside the mask, to a power, with columns that sum to 1 at most."""
    check_positive_int("power", power)
    check_between("eps", eps, 0.0, math.inf, inclusive=False)
    weights = at_least_float32(affinity.detach())
    if mask is not None:
        check_same_device(affinity=affinity, mask=mask)
        check_pairs(mask, affinity.shape[1])
        weights = weights.masked_fill(~mask, 0.0)
    weights = weights**power
    return weights / (weights.sum(dim=1, keepdim=True) + eps)


def _check_maps(name: str, maps: Any, affinity: Tensor) -> None:
    """Raise unless maps are ``(B, C, H, W)`` or ``(B, C, N)`` and fit the affinity."""
    if not isinstance(maps, Tensor):
        found = type(maps).__name__
        raise TypeError(f"{name}: expected a tensor (B, C, H, W) or (B, C, N), got {found}")
    if maps.ndim not in (3, 4):
        shape = tuple(maps.shape)
        raise ShapeError(f"{name}: expected shape (B, C, H, W) or (B, C, N), got {shape}")
    count = maps.shape[2:].numel()
    check_shape("affinity", affinity, "B N M", B=maps.shape[0], N=count, M=count)
    check_same_device(**{name: maps}, affinity=affinity)
    check_floating(name, maps)
    check_floating("affinity", affinity)
