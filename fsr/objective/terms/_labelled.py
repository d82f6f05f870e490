"""Segmentation against label maps that a step is given."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import pixel_cross_entropy
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class LabelledSegmentation(Term):
    """Mean cross entropy over the labelled pixels of view 1, weighted where weights are given.

    Args:
        trust: weights up to this count this much, others 1; None takes weights as they are.

    Example:
        >>> LabelledSegmentation().needs(0).student
        {1: ('segmentation',)}
    """

    name = "segmentation"

    def __init__(self, trust: float | None = None) -> None:
        super().__init__()
        self.trust = trust

    def needs(self, number: int) -> Needs:
        """Return the decoder's logits."""
        return Needs(student={1: ("segmentation",)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; 0 without a labelled pixel."""
        labels, weights = step.given("masks"), step.given("weights")
        if labels is None:
            raise ValueError("given: expected the label maps of view 1 as 'masks', got none")
        logits = step.student("segmentation", 1)
        step.seen |= {"segmentation_logits": logits.detach(), "pseudo_labels": labels}
        entropy = pixel_cross_entropy(logits, labels, 255)
        count = (labels != 255).sum().clamp(min=1)
        if weights is not None:
            if self.trust is not None:
                weights = (weights > self.trust).to(entropy) * (1 - self.trust) + self.trust
            entropy = entropy * weights
        return entropy.sum() / count
