"""Counts that add up over batches, objects and processes; the ground of every score."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from fsr._core.distributed import all_reduce_sum
from fsr.errors import ShapeError

if TYPE_CHECKING:
    from typing_extensions import Self


class Counts(nn.Module):
    """Counts that add up over batches, objects and processes."""

    counts: Tensor
    # Options without which two objects' counts mean different things.
    same: ClassVar[tuple[str, ...]] = ()

    def __init__(self, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("counts", torch.zeros(shape, dtype=torch.int64))

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.counts = torch.zeros_like(self.counts)

    def merge(self, other: Self) -> None:
        """Add what another object of the same kind and number of classes has counted.

        Raises:
            TypeError: ``other`` is of another kind.
            ShapeError: ``other`` counts another number of classes.
            ValueError: it has other thresholds or widths.
        """
        if type(other) is not type(self):
            raise TypeError(f"other: expected {type(self).__name__}, got {type(other).__name__}")
        if other.num_classes != self.num_classes:
            raise ShapeError(f"other: expected {self.num_classes} classes, got {other.num_classes}")
        for name in self.same:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"other: expected {name} {mine}, got {theirs}")
        self._add(other.counts)

    def __add__(self, other: Self) -> Self:
        total = copy.deepcopy(self)
        total.merge(other)
        return total

    def across_processes(self) -> Self:
        """Return what all processes together have counted.

        A collective call, safe to repeat. NCCL needs the counts on the GPU: a process that may
        have counted nothing is moved there by ``.to(device)``.
        """
        total = copy.deepcopy(self)
        total.counts = all_reduce_sum(self.counts)
        return total

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"num_classes={self.num_classes}"

    def _add(self, counts: Tensor) -> None:
        """Add counts, moving to the device that they come from."""
        # Updates may run in inference mode; its tensors could not be changed outside later.
        with torch.inference_mode(False):
            self.counts = self.counts.to(counts.device) + counts


def scores_of(matrix: Tensor) -> tuple[float, Tensor, float, float]:
    """Return mIoU, IoU per class, pixel and mean accuracy of a confusion matrix.

    Args:
        matrix: pixels by true and predicted label, ``(C + 1, C + 1)``.
    """
    matrix = matrix.cpu().double()
    right, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    iou = right / (true + predicted - right)
    present = true > 0
    return (
        iou[present].mean().item(),
        iou,
        (right.sum() / matrix.sum()).item(),
        (right / true)[present].mean().item(),
    )
