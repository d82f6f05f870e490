"""Scores of image-level labels over the data set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_dense,
    check_multi_hot,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr.metrics._counts import Counts


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


class LabelF1(Counts):
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
        check_multi_hot("labels", labels)
        check_same_device(scores=scores, labels=labels)
        check_dense("scores", scores)
        if batch == 0:
            return
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
