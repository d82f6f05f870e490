"""Running mean of teacher outputs, subtracted from them so that no output wins everywhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fsr._core.checks import check_between, check_floating, check_positive_int, check_same_device
from fsr._core.distributed import all_reduce_sum
from fsr.errors import ShapeError


class Center(nn.Module):
    r"""Exponential moving average :math:`c \leftarrow m\,c + (1 - m)\,\bar t` of teacher outputs.

    :math:`\bar t` is the mean over every row of every process. The centre starts at zero, is saved
    with the module's state, and moves by :meth:`update` alone, never by itself.

    Args:
        dim: width K of the outputs.
        momentum: m in [0, 1]; 1 keeps the centre where it is.

    Attributes:
        value: the centre, ``(K,)``, a buffer of at least float32.

    Raises:
        TypeError: ``dim`` is no integer or ``momentum`` no number.
        ValueError: ``dim`` is below 1 or ``momentum`` outside [0, 1].

    Source:
        Section "Implementation Details"; Caron et al., "Emerging Properties in Self-Supervised
        Vision Transformers", ICCV 2021.

    Example:
        >>> center = Center(2, momentum=0.9)
        >>> center.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> center.value
        tensor([0.2000, 0.0000])
    """

    value: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        check_between("momentum", momentum, 0.0, 1.0)
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dim))

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Move towards the mean of outputs ``(..., K)`` over all rows and all processes.

        Processes may hold different numbers of rows; every one of them must call.

        Raises:
            ShapeError: the last axis is not K wide, or there is no row.
        """
        check_floating("outputs", outputs)
        check_same_device(center=self.value, outputs=outputs)
        dim = self.value.shape[0]
        if outputs.ndim < 2 or outputs.shape[-1] != dim or outputs.numel() == 0:
            raise ShapeError(
                f"outputs: expected shape (..., {dim}) with rows, got {tuple(outputs.shape)}"
            )
        rows = outputs.flatten(0, -2)
        total = rows.sum(dim=0, dtype=self.value.dtype)
        # Sum and count travel together: one message, and the mean is that of the joined batch.
        total = all_reduce_sum(torch.cat([total, total.new_full((1,), rows.shape[0])]))
        self.value.lerp_(total[:-1] / total[-1], 1 - self.momentum)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Center:
        """Follow the module to other devices and types, but never to half precision."""
        value = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Steps of an average are too small for half precision: it would stand still.
        if self.value.dtype in (torch.float16, torch.bfloat16):
            self.value = value.to(self.value.device)
        return self

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"dim={self.value.shape[0]}, momentum={self.momentum}"
