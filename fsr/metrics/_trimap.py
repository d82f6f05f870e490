"""Scores near true boundaries: mIoU within bands of growing width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_integer, check_positive_int, check_shape
from fsr._core.labels import BYTE_CLASSES, chosen_ignore
from fsr.errors import ShapeError
from fsr.metrics._counts import Counts, scores_of, scores_of_sums, sums_of_bins
from fsr.metrics._segmentation import checked_labels

WIDTHS = tuple(range(1, 21))


def boundary_distance(target: Tensor, limit: int) -> Tensor:
    r"""Distance of every pixel to the nearest one with another label, up to a limit.

    .. math:: d(p) = \min_{q :\, y(q) \ne y(p)} |p - q|

    VOC's border of ignored pixels is another label too; pixels next to each other have distance 1.

    Args:
        target: label map ``(height, width)``, integers.
        limit: largest distance of interest in pixels.

    Returns:
        Euclidean distance in pixels, ``(height, width)`` float32, exact up to ``limit``; what is
        farther is infinite.

    Raises:
        ShapeError: ``target`` has another shape.
        TypeError: ``limit`` is no integer.
        ValueError: ``limit`` is below 1.

    Example:
        >>> boundary_distance(torch.tensor([[0, 0, 0, 1]]), limit=2)
        tensor([[inf, 2., 1., 1.]])
    """
    check_shape("target", target, "height width")
    check_integer("target", target)
    check_positive_int("limit", limit)
    height, width = target.shape
    nearest = torch.full(target.shape, torch.inf, device=target.device)
    # Every pair of pixels is looked at once: each offset serves both of its ends.
    for down in range(-min(limit, height - 1), min(limit, height - 1) + 1):
        for right in range(min(limit, width - 1) + 1):
            square = down * down + right * right
            if square > limit * limit or (right == 0 and down <= 0):
                continue
            top, bottom = max(0, -down), min(height, height - down)
            here = (slice(top, bottom), slice(0, width - right))
            there = (slice(top + down, bottom + down), slice(right, width))
            other = target[here] != target[there]
            near = torch.where(other, float(square), torch.inf)
            nearest[here] = torch.minimum(nearest[here], near)
            nearest[there] = torch.minimum(nearest[there], near)
    return nearest.sqrt()


class TrimapMetrics(Counts):
    """mIoU of the pixels within some distance of a true boundary, for several distances.

    Args:
        num_classes: number of foreground classes C.
        widths: distances in pixels, see :func:`boundary_distance`.
        ignore_index: label of target pixels that do not count; None is that of
            :func:`fsr.cam.ignore_label`: 255 of at most 254 classes.

    Attributes:
        widths: the distances in rising order.

    Raises:
        TypeError: a number is no integer.
        ValueError: there is no width, one is below 1 or given twice, or ``num_classes`` is below 1.

    Source:
        Kohli et al., "Robust Higher Order Potentials for Enforcing Label Consistency", IJCV 2009;
        Chen et al., "DeepLab", TPAMI 2018, section 4.3.

    Example:
        >>> trimap = TrimapMetrics(1, (1, 2))
        >>> truth = torch.tensor([[0, 0, 0, 1, 1]])
        >>> trimap.update(torch.tensor([[0, 1, 0, 1, 1]]), truth)
        >>> {width: round(score, 3) for width, score in trimap.compute().items()}
        {1: 1.0, 2: 0.583}
    """

    same = ("widths",)

    def __init__(
        self, num_classes: int, widths: Sequence[int] = WIDTHS, ignore_index: int | None = None
    ) -> None:
        check_sequence("widths", widths, "integers")
        check_positive_int("num_classes", num_classes)
        if len(widths) == 0:
            raise ValueError("widths: expected at least one number, got none")
        for width in widths:
            check_positive_int("widths", width)
        if len(set(widths)) < len(widths):
            raise ValueError(f"widths: expected each once, got {tuple(widths)}")
        # Of many classes the sums that scores read are counted, not whole matrices.
        each = (3,) if num_classes > BYTE_CLASSES else (num_classes + 1,)
        super().__init__(num_classes, (len(widths), *each, num_classes + 1))
        self.widths = tuple(sorted(widths))
        self.ignore_index = chosen_ignore(ignore_index, num_classes)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count the pixels near boundaries of one label map or several.

        Args:
            prediction: labels in 0..C, ``(height, width)`` or ``(B, height, width)``.
            target: true labels of the same shape, in 0..C or ``ignore_index``.

        Raises:
            TypeError: an argument is no integer tensor.
            ShapeError: the shapes differ, or have another number of axes.
            ValueError: a label is out of range.
        """
        flat, true = checked_labels(prediction, target, self.num_classes, self.ignore_index)
        if target.ndim not in (2, 3):
            raise ShapeError(f"target: expected (B, height, width), got {tuple(target.shape)}")
        if target.numel() == 0:
            return
        maps = target.reshape(-1, *target.shape[-2:])
        limit = self.widths[-1]
        distance = torch.stack([boundary_distance(one, limit) for one in maps]).flatten()
        # The first width that reaches the pixel; one past the last if none does.
        band = torch.bucketize(distance, distance.new_tensor(self.widths))
        counted = (true != self.ignore_index) & (band < len(self.widths))
        size = self.num_classes + 1
        if self.num_classes > BYTE_CLASSES:
            pixels = (band[counted], true[counted], flat[counted])
            self._add(sums_of_bins(*pixels, len(self.counts), self.num_classes))
            return
        place = ((band * size + true) * size + flat)[counted]
        counts = torch.bincount(place, minlength=self.counts.numel())
        self._add(counts.view(self.counts.shape))

    def compute(self) -> dict[int, float]:
        """Return the mIoU by width; NaN where no pixel was near a boundary."""
        within = self.counts.cumsum(dim=0)
        scores = scores_of_sums if self.num_classes > BYTE_CLASSES else scores_of
        return {width: scores(matrix)[0] for width, matrix in zip(self.widths, within, strict=True)}
