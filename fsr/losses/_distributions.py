"""Equations 8 and 9: cross entropies between the student's and the teacher's distributions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_between,
    check_bool,
    check_floating,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.numerics import at_least_float32
from fsr._core.values import may_look
from fsr.errors import ShapeError


@torch.no_grad()
def teacher_distribution(outputs: Tensor, center: Tensor, temperature: float) -> Tensor:
    r"""Distributions :math:`P = \sigma((t - c) / \tau)` of the teacher, centred and sharpened.

    Args:
        outputs: teacher's projector outputs t, ``(..., K)``; no gradient flows into them.
        center: their running mean c, ``(K,)``.
        temperature: :math:`\tau > 0`; the smaller, the sharper.

    Returns:
        Probabilities, ``(..., K)``, of at least float32.

    Raises:
        ShapeError: ``center`` is not as wide as ``outputs``.
        TypeError: a tensor is not floating point.
        ValueError: ``temperature`` is not above 0.

    Source:
        Sections "A Single-Stage Framework for WSSS" (Eq. 1) and "Implementation Details"; Caron et
        al., ICCV 2021.

    Example:
        >>> teacher_distribution(torch.tensor([[1.0, 1.0]]), torch.tensor([0.5, 0.5]), 0.07)
        tensor([[0.5000, 0.5000]])
    """
    check_rows("outputs", outputs)
    check_shape("center", center, "K", K=outputs.shape[-1])
    check_same_device(outputs=outputs, center=center)
    check_floating("center", center)
    check_temperature("temperature", temperature)
    return ((at_least_float32(outputs) - center) / temperature).softmax(dim=-1)


def uncertain_loss(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    temperature: float = 0.1,
    *,
    weights: Tensor | None = None,
) -> Tensor:
    r"""Loss :math:`L_u` of the uncertain tokens, Eq. 8, averaged over tokens and images.

    .. math:: L_u = -\frac1B \sum_b \frac{1}{\max(1, |M_b|)} \sum_{i \in M_b} P^{(i)}
              \log \sigma(s^{(i)} / \tau)

    With ``weights`` the mean over an image's masked tokens becomes their weighted mean, so that the
    loss keeps its scale (not in the paper).

    Args:
        student: projector outputs s of the student's masked view, before softmax, ``(B, N, K)``.
        teacher: distributions P of the teacher's same view, ``(B, N, K)``; constants.
        mask: True where a patch was masked, ``(B, N)`` boolean.
        temperature: the student's :math:`\tau > 0`.
        weights: how much each token counts beside the others, ``(B, N)``, finite and at least 0,
            constants; see :func:`fsr.losses.boundary_weights`. None: all alike.

    Returns:
        Scalar of at least 0, in at least float32. An image without a masked token counts as 0; so
        does a whole batch of them, still attached to the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``student``, ``teacher`` or ``weights`` is not floating point, or ``mask`` not
            boolean.
        ValueError: ``temperature`` is not above 0, or a weight is negative, infinite or NaN.

    Source:
        Section "Feature Self-reinforcement", Eq. 8.

    Example:
        >>> student, teacher = torch.zeros(1, 3, 4), torch.full((1, 3, 4), 0.25)
        >>> uncertain_loss(student, teacher, torch.tensor([[True, False, False]]))
        tensor(1.3863)
    """
    batch, count, _ = check_shape("student", student, "B N K")
    check_some("student", student)
    check_shape("mask", mask, "B N", B=batch, N=count)
    check_bool("mask", mask)
    check_same_device(student=student, teacher=teacher, mask=mask, weights=weights)
    # Every token's cross entropy, masked or not: picking rows by mask would make shapes depend on
    # values, which costs a synchronisation on a GPU and a graph break in torch.compile.
    entropy = _cross_entropy(student, teacher, temperature)
    if weights is None:
        masked = mask.sum(dim=1).clamp(min=1)
        return ((entropy * mask).sum(dim=1) / masked).mean()
    check_shape("weights", weights, "B N", B=batch, N=count)
    check_floating("weights", weights, finite=False)
    _check_weights(weights)
    share = weights.detach().to(entropy.dtype) * mask
    total = share.sum(dim=1)
    return ((entropy * share).sum(dim=1) / total.masked_fill(total == 0, 1)).mean()


def confident_loss(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Loss :math:`L_c` of the aggregated tokens, Eq. 9, averaged over the batch.

    .. math:: L_c = -\frac1B \sum_b P_1^{(1)} \log \sigma(s^{(1)} / \tau)

    Args:
        student: projector outputs s of the student's aggregated token (masked view 2), before
            softmax, ``(B, K)``.
        teacher: distributions P of the teacher's aggregated token (view 1), ``(B, K)``; constants.
        temperature: the student's :math:`\tau > 0`.

    Returns:
        Scalar of at least 0, in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: a tensor is not floating point.
        ValueError: ``temperature`` is not above 0.

    Source:
        Section "Feature Self-reinforcement", Eq. 9.

    Example:
        >>> confident_loss(torch.zeros(2, 4), torch.full((2, 4), 0.25))
        tensor(1.3863)
    """
    check_shape("student", student, "B K")
    check_some("student", student)
    check_same_device(student=student, teacher=teacher)
    return _cross_entropy(student, teacher, temperature).mean()


def _cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross entropy over the last axis, in float32: half precision loses sums of 4096 terms."""
    if not isinstance(teacher, Tensor) or teacher.shape != student.shape:
        got = tuple(teacher.shape) if isinstance(teacher, Tensor) else type(teacher).__name__
        raise ShapeError(f"teacher: expected the student's shape {tuple(student.shape)}, got {got}")
    check_floating("student", student)
    check_floating("teacher", teacher)
    check_temperature("temperature", temperature)
    log_student = F.log_softmax(at_least_float32(student) / temperature, dim=-1)
    return -(teacher.detach() * log_student).sum(dim=-1)


def check_rows(name: str, value: Tensor) -> None:
    """Raise unless a tensor holds rows of finite numbers, ``(..., K)``."""
    check_floating(name, value)
    if value.ndim < 1 or value.shape[-1] < 1:
        raise ShapeError(f"{name}: expected shape (..., K), got {tuple(value.shape)}")


def _check_weights(weights: Tensor) -> None:
    """Raise unless all weights are finite and at least 0; steps aside under ``torch.compile``."""
    if not may_look(weights):
        return
    if bool((torch.isfinite(weights) & (weights >= 0)).all()):
        return
    raise ValueError(
        f"weights: expected finite numbers of at least 0, got values from {weights.min().item():g} "
        f"to {weights.max().item():g}"
    )


def check_temperature(name: str, value: float) -> None:
    """Raise unless a temperature is a finite number above 0."""
    check_between(name, value, 0.0, math.inf, inclusive=False)
