"""What the teacher's outputs become before they teach: centred, standardised or balanced."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fsr._core.arguments import check_module
from fsr._core.checks import (
    check_choice,
    check_floating,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.distributed import all_reduce_sum
from fsr._core.numerics import at_least_float32
from fsr._core.values import readable
from fsr.errors import ShapeError
from fsr.losses._center import Center
from fsr.losses._distributions import check_rows, check_temperature, teacher_distribution
from fsr.losses._scale import Scale

TargetForm = Literal["centred", "standardised", "sinkhorn"]
#: The forms of a target, each with the temperature that it takes where none is given: of
#: ``"centred"`` in units of the outputs, of the others in standard deviations.
TARGET_FORMS: dict[TargetForm, float] = {"centred": 0.07, "standardised": 0.4, "sinkhorn": 0.4}


@torch.no_grad()
def standardised_distribution(
    outputs: Tensor, center: Tensor, spread: Tensor | float, temperature: float = 0.4
) -> Tensor:
    r"""Distributions :math:`P = \sigma((t - c) / (\tau s))` whose sharpness no spread can change.

    A teacher whose outputs hardly differ gives nearly uniform targets at a fixed temperature, from
    which there is nothing to learn. Divided by their spread they say as much at any width of the
    projector and at any step: about :math:`1 / (2 \tau^2)` nats more than a uniform target, while
    that is well below :math:`\ln K`.

    Args:
        outputs: teacher's projector outputs t, ``(..., K)``; no gradient flows into them.
        center: their running mean c, ``(K,)``.
        spread: standard deviation s of the entries of :math:`t - c`, a number above 0 or a scalar
            tensor of one; see :func:`output_spread`.
        temperature: :math:`\tau > 0`, in standard deviations.

    Returns:
        Probabilities, ``(..., K)``, of at least float32.

    Raises:
        ShapeError: ``center`` is not as wide as ``outputs``, or ``spread`` no scalar.
        TypeError: a tensor is not floating point, or ``spread`` no number.
        ValueError: ``temperature`` or ``spread`` is not above 0 (a tensor is not looked into).

    Source:
        Not in the paper, whose targets are :func:`teacher_distribution`.

    Example:
        >>> from fsr.losses import output_spread
        >>> outputs = torch.tensor([[0.01, -0.01]])
        >>> standardised_distribution(outputs, torch.zeros(2), output_spread(outputs))
        tensor([[0.9933, 0.0067]])
    """
    check_rows("outputs", outputs)
    check_shape("center", center, "K", K=outputs.shape[-1])
    check_floating("center", center)
    check_same_device(outputs=outputs, center=center, spread=spread)
    if isinstance(spread, Tensor):
        if spread.ndim:
            raise ShapeError(f"spread: expected a scalar, got shape {tuple(spread.shape)}")
        check_floating("spread", spread)
        if readable(spread):
            check_temperature("spread", float(spread))
    else:
        check_temperature("spread", spread)
    check_temperature("temperature", temperature)
    centred = at_least_float32(outputs) - center
    return (centred / (temperature * spread)).softmax(dim=-1)


@torch.no_grad()
def sinkhorn_distribution(logits: Tensor, iterations: int = 3, *, joined: bool = True) -> Tensor:
    r"""Distributions that use all prototypes alike over the batch: Sinkhorn-Knopp balancing.

    Rows of :math:`\exp(l)`, then columns and rows in turn, are scaled to one sum: every row sums to
    1, and every prototype gets about the same mass over the rows of all processes. Of n rows full
    balance leaves at most :math:`\ln n` nats more than a uniform target, and of a single row none;
    a few iterations come near that unless logits are very large.

    Args:
        logits: outputs divided by a temperature, ``(..., K)``; no gradient flows into them.
        iterations: how many times columns and then rows are scaled, at least 1.
        joined: balance over the rows of all processes together, each of which must call; False is
            over this process's alone.

    Returns:
        Probabilities, ``(..., K)``, of at least float32.

    Raises:
        ShapeError: there is no row.
        TypeError: ``logits`` is not floating point, or ``iterations`` no integer.
        ValueError: ``iterations`` is below 1.

    Source:
        Not in the paper. Caron et al., "Unsupervised Learning of Visual Features by Contrasting
        Cluster Assignments", NeurIPS 2020, section 3.1.

    Example:
        >>> sinkhorn_distribution(torch.tensor([[9.0, 0.0], [9.0, 1.0]])).argmax(-1)
        tensor([0, 1])
    """
    check_floating("logits", logits)
    check_positive_int("iterations", iterations)
    if logits.ndim < 1 or logits.numel() == 0:
        raise ShapeError(f"logits: expected (..., K) with rows, got {tuple(logits.shape)}")
    # Rows first: their softmax cannot overflow, and where the balancing leads is the same.
    rows = at_least_float32(logits).reshape(-1, logits.shape[-1]).softmax(dim=-1)
    for _ in range(iterations):
        columns = rows.sum(dim=0)
        columns = all_reduce_sum(columns) if joined else columns
        # A prototype so far off that it underflows in every row stays at 0.
        rows = rows / columns.clamp(min=torch.finfo(rows.dtype).tiny)
        rows = rows / rows.sum(dim=-1, keepdim=True)
    return rows.view(logits.shape)


@torch.no_grad()
def target_distribution(
    form: TargetForm,
    outputs: Tensor,
    center: Center,
    scale: Scale | None = None,
    temperature: float | None = None,
    *,
    training: bool = True,
) -> tuple[Tensor, Tensor | None]:
    r"""Return targets of one of :data:`TARGET_FORMS`, and the spread that they were divided by.

    Nothing moves: the caller updates ``center`` and ``scale`` when all terms are computed.

    Args:
        form: ``"centred"`` (the paper's, :func:`teacher_distribution`), ``"standardised"``
            (:func:`standardised_distribution`) or ``"sinkhorn"`` (:func:`sinkhorn_distribution` of
            the standardised outputs).
        outputs: teacher's projector outputs, ``(..., K)``.
        center: their running mean.
        scale: their spread; None where the form reads none.
        temperature: above 0; None takes the form's own, of :data:`TARGET_FORMS`.
        training: measure spread and balance over the batch of all processes together, each of
            which must call. False takes the spread as kept and this process's rows alone.

    Returns:
        Probabilities ``(..., K)`` of at least float32, and the spread or None.

    Raises:
        ShapeError: a width does not fit, or there is no row.
        TypeError: ``outputs`` is not floating point.
        ValueError: ``form`` is unknown, lacks its ``scale``, or ``temperature`` is not above 0.

    Source:
        Not in the paper, but for ``"centred"``.

    Example:
        >>> targets, spread = target_distribution("centred", torch.zeros(2, 4), Center(4))
        >>> targets[0], spread
        (tensor([0.2500, 0.2500, 0.2500, 0.2500]), None)
    """
    check_choice("form", form, TARGET_FORMS)
    temperature = TARGET_FORMS[form] if temperature is None else temperature
    check_rows("outputs", outputs)
    check_module("center", center, Center)
    if scale is not None:
        check_module("scale", scale, Scale)
    check_same_device(outputs=outputs, center=center.value)
    if form == "centred":
        return teacher_distribution(outputs, center.value, temperature), None
    if scale is None:
        raise ValueError(f"scale: expected a Scale, which {form!r} reads, got None")
    check_shape("center", center.value, "K", K=outputs.shape[-1])
    check_temperature("temperature", temperature)
    spread = scale(at_least_float32(outputs) - center.value, training=training)
    if form == "standardised":
        return standardised_distribution(outputs, center.value, spread, temperature), spread
    logits = (at_least_float32(outputs) - center.value) / (temperature * spread)
    return sinkhorn_distribution(logits, joined=training), spread
