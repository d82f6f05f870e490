"""Spread of the teacher's outputs, by which informative targets divide them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fsr._core.checks import check_between, check_floating, check_shape
from fsr._core.distributed import all_reduce_sum
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError

# Outputs that are all alike have no spread: what is divided by this stays 0, a uniform target.
_SMALLEST = 1e-6


@torch.no_grad()
def output_spread(outputs: Tensor, *, joined: bool = True) -> Tensor:
    r"""Standard deviation :math:`s` of all entries of outputs, around their own mean.

    Args:
        outputs: centred outputs of a teacher's projector :math:`t - c`, ``(..., K)``.
        joined: over the batches of all processes together, each of which must call; False is over
            this process's alone.

    Returns:
        Scalar of at least float32, finite for finite outputs, and at least 1e-6 so that it can be
        divided by.

    Raises:
        ShapeError: there is no entry.
        TypeError: ``outputs`` is not floating point.

    Source:
        Not in the paper.

    Example:
        >>> output_spread(torch.tensor([[1.0, -1.0], [3.0, -3.0]]))
        tensor(2.2361)
    """
    check_floating("outputs", outputs)
    if outputs.numel() == 0:
        raise ShapeError(f"outputs: expected entries, got {tuple(outputs.shape)}")
    entries = at_least_float32(outputs)
    # Mean first, squares second: a difference of large sums would lose what the spread is made of.
    sums = torch.stack([entries.sum(), entries.new_full((), float(entries.numel()))])
    total, count = (all_reduce_sum(sums) if joined else sums).unbind()
    squares: Tensor = (entries - total / count).square().sum()
    squares = all_reduce_sum(squares) if joined else squares
    largest = torch.finfo(entries.dtype).max
    return (squares / count).sqrt().clamp(min=_SMALLEST, max=largest)


class Scale(TypedModule):
    r"""Spread of centred teacher outputs: of the batch, or a running mean of the batches'.

    :math:`s \leftarrow m\,s + (1 - m)\,s_\text{batch}`, where the first batch counts whole. In
    training mode a call measures the batch of all processes together; in eval mode it returns the
    spread as saved, or that of this process's batch where none was ever kept, and communicates
    nothing. It moves by :meth:`update` alone.

    Args:
        momentum: m in [0, 1); 0 is the batch's own spread.

    Attributes:
        value: the spread, a scalar buffer of at least float32; 0 before the first update.

    Raises:
        TypeError: ``momentum`` is no number.
        ValueError: ``momentum`` is outside [0, 1).

    Source:
        Not in the paper.

    Example:
        >>> scale = Scale()
        >>> scale(torch.tensor([[1.0, -1.0]])), scale.value
        (tensor(1.), tensor(0.))
    """

    value: Tensor

    def __init__(self, momentum: float = 0.0) -> None:
        super().__init__()
        check_between("momentum", momentum, 0.0, 1.0)
        if momentum == 1:
            raise ValueError("momentum: expected less than 1, at which no spread is ever taken in")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(()))

    @torch.no_grad()
    def forward(self, outputs: Tensor, *, training: bool | None = None) -> Tensor:
        """Return the spread to divide centred outputs ``(..., K)`` by, a scalar above 0.

        Args:
            outputs: centred outputs of a teacher's projector.
            training: whether to measure as in training mode; None is as the module is.
        """
        training = self.training if training is None else training
        batch = output_spread(outputs, joined=training)
        kept = self.value.to(batch.dtype)
        moved = kept.lerp(batch, 1 - self.momentum) if training else kept
        # A choice by value without reading it: nothing waits for a GPU. NaN is never kept on.
        return torch.where(kept > 0, moved, batch)

    @torch.no_grad()
    def update(self, spread: Tensor) -> None:
        """Keep a spread that a call in training mode returned."""
        check_shape("spread", spread, "")
        check_floating("spread", spread)
        self.value.copy_(spread)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Scale:
        """Follow the module to other devices and types, but never to half precision."""
        value = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.value.dtype in (torch.float16, torch.bfloat16):
            self.value = value.to(self.value.device)
        return self

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"momentum={self.momentum}"
