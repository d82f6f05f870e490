"""Segmentation against pseudo labels."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import balanced_segmentation_loss
from fsr.objective._labels import PhasedLabels, PixelLabels
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Segmentation(Term):
    """L_seg of Eq. 10: cross entropy with pseudo labels, background and foreground in balance.

    Args:
        labels: pseudo labels; their view is the one that is segmented.

    Source:
        Section "A Single-Stage Framework for WSSS".

    Example:
        >>> from fsr.presets import CAMSource
        >>> Segmentation(PixelLabels(CAMSource())).needs(0).student
        {1: ('segmentation',)}
    """

    name = "segmentation"

    def __init__(self, labels: PixelLabels | PhasedLabels) -> None:
        super().__init__()
        self.labels = labels

    def needs(self, number: int) -> Needs:
        """Return the decoder's logits of the view, and what its labels read."""
        heads = {self.labels.source.view: ("segmentation",)}
        return Needs(student=heads) | self.labels.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; the logits can be seen afterwards, detached."""
        labels = step.get(self.labels)
        logits = step.student("segmentation", self.labels.source.view)
        step.seen["segmentation_logits"] = logits.detach()
        return balanced_segmentation_loss(logits, labels, joined=self.training)
