"""Scores of thresholded maps at many thresholds, counted in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_between, check_floating, check_positive_int, check_same_device
from fsr._core.labels import BYTE_CLASSES, chosen_ignore
from fsr.metrics._counts import Counts, scores_of, scores_of_sums, sums_of_bins
from fsr.metrics._segmentation import SegmentationScores, checked_labels


class ThresholdSweep(Counts):
    """Scores of a map at every threshold: its class where the score is above, else background.

    Pixels are counted by class, true label and the thresholds that their score exceeds; the
    confusion matrix of each threshold is a sum of those counts. A hundred thresholds cost hardly
    more than one, and the scores equal those of :class:`fsr.metrics.SegmentationMetrics` on
    ``score > threshold`` exactly.

    Args:
        num_classes: number of foreground classes C.
        thresholds: the thresholds, in any order, each once, between 0 and 1.
        ignore_index: label of target pixels that do not count; None is that of
            :func:`fsr.cam.ignore_label`: 255 of at most 254 classes.

    Attributes:
        thresholds: the thresholds in rising order.

    Raises:
        TypeError: ``num_classes`` is no integer, or a threshold no number.
        ValueError: there is no threshold, or one is out of range or given twice.

    Source:
        Section "Experimental Settings": CAMs are scored at the threshold that suits them best.

    Example:
        >>> sweep = ThresholdSweep(1, (0.3, 0.6))
        >>> score, truth = torch.tensor([[0.2, 0.5, 0.9]]), torch.tensor([[0, 0, 1]])
        >>> sweep.update(score, torch.ones_like(truth), truth)
        >>> {threshold: sweep.compute(threshold).miou for threshold in sweep.thresholds}
        {0.3: 0.5, 0.6: 1.0}
    """

    same = ("thresholds",)

    def __init__(
        self, num_classes: int, thresholds: Sequence[float], ignore_index: int | None = None
    ) -> None:
        check_sequence("thresholds", thresholds, "numbers")
        check_positive_int("num_classes", num_classes)
        if len(thresholds) == 0:
            raise ValueError("thresholds: expected at least one number, got none")
        for threshold in thresholds:
            check_between("thresholds", threshold, 0.0, 1.0)
        if len(set(thresholds)) < len(thresholds):
            raise ValueError(f"thresholds: expected each once, got {tuple(thresholds)}")
        # Of many classes the sums that scores read are counted, not whole matrices.
        each = (3,) if num_classes > BYTE_CLASSES else (num_classes + 1,)
        shape = (len(thresholds) + 1, *each, num_classes + 1)
        super().__init__(num_classes, shape)
        self.thresholds = tuple(sorted(float(threshold) for threshold in thresholds))
        self.ignore_index = chosen_ignore(ignore_index, num_classes)

    def update(self, score: Tensor, label: Tensor, target: Tensor) -> None:
        """Count the pixels of one or several maps.

        Args:
            score: score of each pixel's label, of any shape, floating point.
            label: the label that a pixel takes where its score is above a threshold, in 0..C, of
                the same shape.
            target: true labels of the same shape, in 0..C or ``ignore_index``.

        Raises:
            TypeError: ``score`` is not floating point, or a label map no integer tensor.
            ShapeError: the shapes differ.
            ValueError: a score is NaN, or a label out of range.
        """
        check_floating("score", score, finite=False)
        label, target = checked_labels(
            label, target, self.num_classes, self.ignore_index, called="label"
        )
        check_same_device(score=score, label=label)
        score = score.flatten()
        if score.shape != label.shape:
            raise ValueError(f"score: expected {label.numel()} pixels, got {score.numel()}")
        if bool(score.isnan().any()):
            raise ValueError("score: expected numbers, got NaN")
        # The number of thresholds below the score, compared in the score's own type.
        exceeded = torch.bucketize(score, score.new_tensor(self.thresholds))
        counted = target != self.ignore_index
        size = self.num_classes + 1
        if self.num_classes > BYTE_CLASSES:
            pixels = (exceeded[counted], target[counted], label[counted])
            self._add(sums_of_bins(*pixels, len(self.counts), self.num_classes))
            return
        place = ((exceeded * size + target) * size + label)[counted]
        counts = torch.bincount(place, minlength=self.counts.numel())
        self._add(counts.view(self.counts.shape))

    def compute(self, threshold: float) -> SegmentationScores:
        """Return the scores at one of the thresholds.

        Raises:
            ValueError: it is none of them.
        """
        above, below = self._parts(threshold)
        if self.num_classes > BYTE_CLASSES:
            sums, true = above.clone(), below[1]
            sums[0, 0] += true[0]
            sums[1] += true
            sums[2, 0] += true.sum()
            return SegmentationScores(*scores_of_sums(sums))
        return SegmentationScores(*scores_of(self.confusion(threshold)))

    def confusion(self, threshold: float) -> Tensor:
        """Return the pixels by true label and label above a threshold, ``(C + 1, C + 1)``.

        Raises:
            ValueError: it is none of the thresholds, or there are more than 254 classes, of which
                no matrices are kept.

        Example:
            >>> sweep = ThresholdSweep(1, (0.3, 0.6))
            >>> sweep.update(torch.tensor([0.5, 0.9]), torch.tensor([1, 1]), torch.tensor([0, 1]))
            >>> sweep.confusion(0.6).tolist()
            [[1, 0], [0, 1]]
        """
        above, below = self._parts(threshold)
        if self.num_classes > BYTE_CLASSES:
            raise ValueError(
                f"num_classes: expected at most {BYTE_CLASSES} for a matrix at a threshold, got "
                f"{self.num_classes}"
            )
        matrix = above.clone()
        matrix[:, 0] += below.sum(dim=1)
        return matrix

    def _parts(self, threshold: float) -> tuple[Tensor, Tensor]:
        """Return what is counted of the pixels above a threshold, and of the others."""
        if threshold not in self.thresholds:
            raise ValueError(f"threshold: expected one of {self.thresholds}, got {threshold}")
        index = self.thresholds.index(threshold)
        return self.counts[index + 1 :].sum(0), self.counts[: index + 1].sum(0)

    def miou(self) -> dict[float, float]:
        """Return the mIoU by threshold."""
        return {threshold: self.compute(threshold).miou for threshold in self.thresholds}
