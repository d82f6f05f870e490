"""Weights of linear classifiers, which 1x1 convolutions hold with two further axes."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_floating, check_shape
from fsr.errors import ShapeError


def class_weight(name: str, weight: Tensor, width: int) -> Tensor:
    """Check the weight of a classifier of features ``width`` wide and return it as ``(C, D)``.

    Args:
        name: argument name for the message.
        weight: ``(C, D)``, or ``(C, D, 1, 1)`` of a 1x1 convolution.
        width: D of the features.

    Raises:
        ShapeError: the shape is wrong, or there is no class.
        TypeError: ``weight`` is no floating-point tensor.

    Example:
        >>> import torch
        >>> class_weight("weight", torch.zeros(3, 8, 1, 1), width=8).shape
        torch.Size([3, 8])
    """
    if isinstance(weight, Tensor) and weight.ndim == 4:
        check_shape(name, weight, "C D 1 1", D=width, **{"1": 1})
        weight = weight.flatten(1)
    classes, _ = check_shape(name, weight, "C D", D=width)
    if classes < 1:
        raise ShapeError(f"{name}: expected at least one class, got none")
    check_floating(name, weight)
    return weight
