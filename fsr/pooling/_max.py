"""Pooling of patch tokens into one vector per image, which the classifiers read."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_floating, check_shape
from fsr.errors import ShapeError


def max_pool(tokens: Tensor) -> Tensor:
    r"""Global maximum over the patches of every dimension, :math:`\max_i Z^{(i)}`.

    Where several patches share a maximum, the gradient goes to one of them.

    Args:
        tokens: patch tokens Z, ``(B, N, D)``, any real scale.

    Returns:
        ``(B, D)``, of the tokens' type.

    Raises:
        ShapeError: ``tokens`` has the wrong shape, or there is no patch.
        TypeError: ``tokens`` is not floating point.

    Source:
        Section "A Single-Stage Framework for WSSS": the pooling before the classifiers.

    Example:
        >>> import torch
        >>> max_pool(torch.tensor([[[1.0, 5.0], [3.0, 2.0]]]))
        tensor([[3., 5.]])
    """
    _, count, _ = check_shape("tokens", tokens, "B N D")
    check_floating("tokens", tokens)
    if count < 1:
        raise ShapeError(f"tokens: expected at least one patch, got {tuple(tokens.shape)}")
    return tokens.max(dim=1).values
