"""Scores of label maps from one confusion matrix over the data set."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fsr._core.checks import check_integer, check_positive_int, check_same_device
from fsr._core.labels import chosen_ignore
from fsr.errors import ShapeError
from fsr.metrics._counts import Counts, scores_of


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


class SegmentationMetrics(Counts):
    """mIoU and accuracies of one confusion matrix over the data set, on label maps.

    The mean of per-image scores is a different number; this is the one that papers report.

    Args:
        num_classes: number of foreground classes C; labels run from 0 (background) to C.
        ignore_index: label of target pixels that do not count; None is that of
            :func:`fsr.cam.ignore_label`: 255 of at most 254 classes.

    Raises:
        TypeError: ``num_classes`` is no integer.
        ValueError: ``num_classes`` is less than 1.

    Source:
        Section "Experimental Settings"; Everingham et al., "The PASCAL Visual Object Classes
        Challenge: A Retrospective", IJCV 2015.

    Example:
        >>> import torch
        >>> metrics = SegmentationMetrics(num_classes=2)
        >>> metrics.update(torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 1, 0, 255]]))
        >>> scores = metrics.compute()
        >>> scores.miou, scores.iou.tolist(), round(scores.pixel_accuracy, 4)
        (0.5, [0.5, 0.5, nan], 0.6667)
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        check_positive_int("num_classes", num_classes)
        super().__init__(num_classes, (num_classes + 1, num_classes + 1))
        self.ignore_index = chosen_ignore(ignore_index, num_classes)

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

        prediction, target = checked_labels(prediction, target, self.num_classes, self.ignore_index)
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
        return SegmentationScores(*scores_of(self.counts))

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"{super().extra_repr()}, ignore_index={self.ignore_index}"


def checked_labels(
    prediction: Tensor,
    target: Tensor,
    num_classes: int,
    ignore_index: int,
    *,
    called: str = "prediction",
) -> tuple[Tensor, Tensor]:
    """Return both label maps, flat and wide, or raise if a label is out of range.

    Args:
        prediction: labels in 0..C, of any shape.
        target: labels in 0..C or ``ignore_index``, of the same shape.
        num_classes: number of foreground classes C.
        ignore_index: label of target pixels that do not count.
        called: what the caller's argument with the prediction is called, for messages.

    Raises:
        TypeError: an argument is no integer tensor.
        ShapeError: the shapes differ.
        ValueError: a label is out of range; the message lists the labels.
    """
    for name, value in ((called, prediction), ("target", target)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected an integer tensor, got {type(value).__name__}")
        check_integer(name, value)
    check_same_device(**{called: prediction, "target": target})
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{called}: expected the target's shape {tuple(target.shape)}, "
            f"got {tuple(prediction.shape)}"
        )
    # Wide integers: a class times the number of classes does not fit into a byte.
    prediction, target = prediction.flatten().long(), target.flatten().long()
    wrong = (prediction < 0) | (prediction > num_classes)
    false = (target != ignore_index) & ((target < 0) | (target > num_classes))
    if wrong.is_meta or not bool((wrong | false).any()):
        return prediction, target
    name, bad = ("target", target[false]) if bool(false.any()) else (called, prediction[wrong])
    also = f" or {ignore_index}" if name == "target" else ""
    values = sorted(set(bad.tolist()))
    listed = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
    raise ValueError(f"{name}: expected labels in 0..{num_classes}{also}, got {listed}")
