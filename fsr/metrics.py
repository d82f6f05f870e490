"""Scores over a whole data set, counted batch by batch in constant memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from fsr._checks import ShapeError, check_between, check_positive_int, check_shape
from fsr._distributed import all_reduce_sum

if TYPE_CHECKING:
    from typing_extensions import Self


class SegmentationScores(NamedTuple):
    """What :meth:`SegmentationMetrics.compute` returns; NaN where a score is undefined.

    Attributes:
        miou: mean of ``iou`` over the classes present in the targets.
        iou: intersection over union per class, ``(C + 1,)`` float64, background first.
        pixel_accuracy: share of the pixels that are right.
        mean_accuracy: mean over the classes present of the share of their pixels that is right.
    """

    miou: float
    iou: Tensor
    pixel_accuracy: float
    mean_accuracy: float


class LabelScores(NamedTuple):
    """What :meth:`LabelF1.compute` returns; NaN where a score is undefined.

    Attributes:
        micro: F1 of all decisions together.
        macro: mean of ``f1`` over the classes for which it is defined.
        f1: F1 per class, ``(C,)`` float64; NaN for a class neither present nor predicted.
    """

    micro: float
    macro: float
    f1: Tensor


class _Counts(nn.Module):
    """Counts that add up over batches, objects and processes."""

    counts: Tensor

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
        """
        if type(other) is not type(self):
            raise TypeError(f"other: expected {type(self).__name__}, got {type(other).__name__}")
        if other.num_classes != self.num_classes:
            raise ShapeError(f"other: expected {self.num_classes} classes, got {other.num_classes}")
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


class SegmentationMetrics(_Counts):
    """mIoU and accuracies of one confusion matrix over the data set, on label maps.

    The mean of per-image scores is a different number; this is the one that papers report.

    Args:
        num_classes: number of foreground classes C; labels run from 0 (background) to C.
        ignore_index: label of target pixels that do not count.

    Raises:
        TypeError: ``num_classes`` is no integer.
        ValueError: ``num_classes`` is less than 1.

    Source:
        Section "Experimental Settings"; Everingham et al., "The PASCAL Visual Object Classes
        Challenge: A Retrospective", IJCV 2015.

    Example:
        >>> metrics = SegmentationMetrics(num_classes=2)
        >>> metrics.update(torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 1, 0, 255]]))
        >>> scores = metrics.compute()
        >>> scores.miou, scores.iou.tolist(), round(scores.pixel_accuracy, 4)
        (0.5, [0.5, 0.5, nan], 0.6667)
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        check_positive_int("num_classes", num_classes)
        super().__init__(num_classes, (num_classes + 1, num_classes + 1))
        self.ignore_index = ignore_index

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count the pixels of one or several label maps.

        Args:
            prediction: labels in 0..C, ``(height, width)`` or ``(B, height, width)`` integers.
            target: true labels of the same shape, in 0..C or ``ignore_index``.

        Raises:
            TypeError: an argument is no integer tensor.
            ShapeError: the shapes differ.
            ValueError: a label is out of range; the message lists the labels.
        """
        # Kept out of the module's imports: torchmetrics takes longer to import than all of fsr.
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        for name, value in (("prediction", prediction), ("target", target)):
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}: expected an integer tensor, got {type(value).__name__}")
            if value.is_floating_point() or value.dtype == torch.bool:
                raise TypeError(f"{name}: expected an integer tensor, got {value.dtype}")
        if prediction.shape != target.shape:
            raise ShapeError(
                f"prediction: expected the target's shape {tuple(target.shape)}, "
                f"got {tuple(prediction.shape)}"
            )
        # Wide integers: a class times the number of classes does not fit into a byte.
        prediction, target = prediction.flatten().long(), target.flatten().long()
        self._check_labels(prediction, target)
        matrix: Tensor = multiclass_confusion_matrix(
            prediction,
            target,
            num_classes=self.num_classes + 1,
            ignore_index=self.ignore_index,
            validate_args=False,
        )
        self._add(matrix)

    def compute(self) -> SegmentationScores:
        """Return the scores of everything counted so far in this process."""
        matrix = self.counts.cpu().double()
        right, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        iou = right / (true + predicted - right)
        present = true > 0
        return SegmentationScores(
            miou=iou[present].mean().item(),
            iou=iou,
            pixel_accuracy=(right.sum() / matrix.sum()).item(),
            mean_accuracy=(right / true)[present].mean().item(),
        )

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"{super().extra_repr()}, ignore_index={self.ignore_index}"

    def _check_labels(self, prediction: Tensor, target: Tensor) -> None:
        """Raise if a label is neither 0..C nor, in the target, the ignored one."""
        wrong = (prediction < 0) | (prediction > self.num_classes)
        counted = target != self.ignore_index
        false = counted & ((target < 0) | (target > self.num_classes))
        if not bool((wrong | false).any()):
            return
        name, bad = (
            ("target", target[false]) if bool(false.any()) else ("prediction", prediction[wrong])
        )
        also = f" or {self.ignore_index}" if name == "target" else ""
        values = sorted(set(bad.tolist()))
        listed = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
        raise ValueError(f"{name}: expected labels in 0..{self.num_classes}{also}, got {listed}")


class LabelF1(_Counts):
    """F1 of multi-label image classification over the data set.

    Args:
        num_classes: number of foreground classes C.
        threshold: a class is predicted where its score is above this; 0 suits logits.

    Raises:
        TypeError: ``num_classes`` is no integer or ``threshold`` no number.
        ValueError: ``num_classes`` is less than 1, or ``threshold`` NaN or infinite.

    Example:
        >>> metric = LabelF1(num_classes=2)
        >>> metric.update(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), torch.tensor([[1, 0], [0, 1]]))
        >>> scores = metric.compute()
        >>> round(scores.micro, 3), round(scores.macro, 3)
        (0.8, 0.833)
    """

    def __init__(self, num_classes: int, threshold: float = 0.0) -> None:
        check_positive_int("num_classes", num_classes)
        check_between("threshold", threshold, float("-inf"), float("inf"), inclusive=False)
        super().__init__(num_classes, (num_classes, 3))
        self.threshold = threshold

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Count the decisions of one batch.

        Args:
            scores: logits or probabilities, ``(B, C)``.
            labels: multi-hot truth, ``(B, C)``; above 0.5 is present.

        Raises:
            TypeError: an argument is no tensor.
            ShapeError: a shape differs.
            ValueError: a score is NaN.
        """
        from torchmetrics.functional.classification import multilabel_stat_scores

        batch, _ = check_shape("scores", scores, "B C", C=self.num_classes)
        check_shape("labels", labels, "B C", B=batch, C=self.num_classes)
        if bool(scores.isnan().any()):
            raise ValueError("scores: expected numbers, got NaN")
        # Decided here: torchmetrics takes scores for logits only if one lies outside [0, 1].
        table: Tensor = multilabel_stat_scores(
            (scores > self.threshold).long(),
            (labels > 0.5).long(),
            num_labels=self.num_classes,
            average="none",
            validate_args=False,
        )
        true_positive, false_positive, _, false_negative, _ = table.reshape(-1, 5).unbind(1)
        self._add(torch.stack([true_positive, false_positive, false_negative], dim=1))

    def compute(self) -> LabelScores:
        """Return the scores of everything counted so far in this process."""
        counts = self.counts.cpu().double()
        f1 = _f1(counts)
        return LabelScores(_f1(counts.sum(0)).item(), f1[~f1.isnan()].mean().item(), f1)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"{super().extra_repr()}, threshold={self.threshold}"


def _f1(counts: Tensor) -> Tensor:
    """Return 2 TP / (2 TP + FP + FN) of counts ``(..., 3)``."""
    true_positive, false_positive, false_negative = counts.unbind(-1)
    return 2 * true_positive / (2 * true_positive + false_positive + false_negative)
