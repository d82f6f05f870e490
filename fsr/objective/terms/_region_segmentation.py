"""Segmentation against the labels of reliable regions."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import joint_cross_entropy
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._reliable_region import ReliableRegion
from fsr.objective._step import Step


class RegionSegmentation(Term):
    """Mean cross entropy of the region's background plus that of its foreground.

    Args:
        labels: labels of the reliable region.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020 (zbf1991/RRM@6d4191c).

    Example:
        >>> from fsr.refine import DenseCRF
        >>> labels = ReliableRegion(crf=DenseCRF("rrm", backend="torch"))
        >>> RegionSegmentation(labels).needs(0).student
        {1: ('segmentation', 'tokens')}
    """

    name = "segmentation"

    def __init__(self, labels: ReliableRegion) -> None:
        super().__init__()
        self.labels = labels

    def needs(self, number: int) -> Needs:
        """Return the segmentation, and what its labels read."""
        return Needs(student={1: ("segmentation",)}) | self.labels.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; the logits can be seen afterwards, detached."""
        labels = step.get(self.labels)
        logits = step.student("segmentation", 1)
        step.seen["segmentation_logits"] = logits.detach()
        return joint_cross_entropy(logits, labels, joined=self.training)
