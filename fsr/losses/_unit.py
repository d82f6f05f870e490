"""Vectors of length 1, with a gradient that reads and writes them once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Lengths below this count as this: zero has no direction.
EPS = 1e-8


class UnitVectors(torch.autograd.Function):
    r"""Vectors divided by their lengths, as ``torch.nn.functional.normalize`` does it.

    The gradient :math:`(g - u \langle u, g \rangle) / |x|` is made image by image, in the cache.
    It has a gradient of its own.

    Example:
        >>> UnitVectors.apply(torch.tensor([[[3.0, 4.0]]]))
        (tensor([[[0.6000, 0.8000]]]), tensor([[[5.]]]))
    """

    @staticmethod
    def forward(vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors of vectors ``(B, N, D)``, and the lengths ``(B, N, 1)``."""
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        return vectors / lengths.clamp(min=EPS), lengths

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the gradient needs."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Tensor:
        """Return the gradient of the vectors."""
        vectors, unit, lengths = ctx.saved_tensors
        if torch.is_grad_enabled():  # this gradient is to have one itself
            lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
            return _gradient(grad, vectors / lengths.clamp(min=EPS), lengths)
        found = torch.empty_like(grad)
        for image in range(len(grad)):
            found[image] = _gradient(grad[image], unit[image], lengths[image])
        return found


def _gradient(grad: Tensor, unit: Tensor, lengths: Tensor) -> Tensor:
    """Return the gradient of vectors from that of their unit vectors."""
    # What is shorter than EPS is only multiplied.
    along = (grad * unit).sum(dim=-1, keepdim=True) * (lengths >= EPS)
    return (grad - unit * along) / lengths.clamp(min=EPS)
