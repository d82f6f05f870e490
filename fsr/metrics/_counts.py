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
    matrix = matrix.cpu()
    return scores_of_sums(torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]))


def sums_of_bins(
    place: Tensor, true: Tensor, predicted: Tensor, bins: int, num_classes: int
) -> Tensor:
    """Return all that scores read of one confusion matrix for each bin, without the matrices.

    Args:
        place: bin of each pixel, ``(N,)``.
        true: its true label.
        predicted: its predicted label.
        bins: number of bins.
        num_classes: number of foreground classes C.

    Returns:
        Pixels that are right, that are truly of a label and that are predicted to be, by bin and
        label, ``(bins, 3, C + 1)``.
    """
    size = num_classes + 1
    right = true == predicted
    counts = [
        torch.bincount(where * size + label, minlength=bins * size)
        for where, label in ((place[right], true[right]), (place, true), (place, predicted))
    ]
    return torch.stack(counts).view(3, bins, size).transpose(0, 1)


def scores_of_sums(sums: Tensor) -> tuple[float, Tensor, float, float]:
    """Return the scores from a confusion matrix's diagonal and sums of rows and of columns.

    Args:
        sums: pixels that are right, truly of each label, and predicted to be, ``(3, C + 1)``.
    """
    right, true, predicted = sums.cpu().double().unbind()
    iou = right / (true + predicted - right)
    present = true > 0
    return (
        iou[present].mean().item(),
        iou,
        (right.sum() / true.sum()).item(),
        (right / true)[present].mean().item(),
    )
