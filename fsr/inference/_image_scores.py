"""One score per image: how well it is segmented, and how sure the network is of its labels."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr.metrics import SegmentationMetrics, ThresholdSweep

# Whether there is a certainty, the certainty, whether there is an IoU, the IoU.
COLUMNS = 4


class ImageScores:
    """Scores of every image, kept at its own place, so that the order of images does not matter.

    Args:
        total: number of images, over all processes.
        num_classes: number of foreground classes C.
        thresholds: those of the CAMs; the first one counts here.
    """

    def __init__(self, total: int, num_classes: int, thresholds: tuple[float, ...]) -> None:
        # Zeros where another process has the image: the sum over processes is the whole table.
        self.values = torch.zeros(total, COLUMNS)
        self.num_classes = num_classes
        self.thresholds = thresholds

    def certainty(self, number: int, logits: Tensor) -> None:
        """Note how sure the network is of the label that it doubts most.

        Args:
            number: the image's place.
            logits: its class logits ``(1, C)``.
        """
        self.values[number, 0] = 1.0
        self.values[number, 1] = doubted(logits)

    def iou(self, number: int, counts: Tensor) -> None:
        """Note the mean IoU of one image over the classes in its truth.

        Args:
            number: the image's place.
            counts: what it adds to a confusion matrix, or to those of a sweep of thresholds.
        """
        if counts.ndim == 2:
            metric = SegmentationMetrics(self.num_classes)
            metric.counts = counts
            score = metric.compute().miou
        else:
            sweep = ThresholdSweep(self.num_classes, self.thresholds)
            sweep.counts = counts
            score = sweep.compute(self.thresholds[0]).miou
        if score == score:  # NaN: no pixel of the truth counts
            self.values[number, 2] = 1.0
            self.values[number, 3] = score


def doubted(logits: Tensor) -> Tensor:
    """Return how far the most doubtful of an image's label decisions is from a coin's, 0 to 1.

    Args:
        logits: class logits of one image, of any shape.

    Example:
        >>> doubted(torch.tensor([[0.0, 8.0]])).item()
        0.0
    """
    return (2 * logits.detach().float().sigmoid() - 1).abs().amin()


def column(values: Tensor, name: str) -> Tensor:
    """Return one score of all images, ``(images,)``, NaN where there is none.

    Args:
        values: the table.
        name: ``"certainty"`` or ``"iou"``.

    Example:
        >>> column(torch.tensor([[1.0, 0.5, 0.0, 0.0]]), "iou").tolist()
        [nan]
    """
    place = {"certainty": 0, "iou": 2}[name]
    return torch.where(values[:, place] > 0, values[:, place + 1], torch.nan)
