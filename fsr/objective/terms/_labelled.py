"""Segmentation against label maps that a step is given."""

from __future__ import annotations

from torch import Tensor

from fsr._core.distributed import joined_ratio
from fsr._core.labels import ignore_label
from fsr.losses import pixel_cross_entropy, underfit, weighted_cross_entropy
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class LabelledSegmentation(Term):
    """Mean cross entropy over the labelled pixels of view 1, weighted where weights are given.

    Args:
        trust: where weights are given, threshold of :func:`fsr.losses.weighted_cross_entropy`; None
            multiplies each pixel by its weight instead.
        ceiling: where no weights are given, easy batches teach no pixel more than this, see
            :func:`fsr.losses.underfit`; None: no such thing.

    Source:
        The threshold and the ceiling are URN's (Li et al., AAAI 2022; XMed-Lab/URN@5e56e5e).

    Example:
        >>> LabelledSegmentation().needs(0).student
        {1: ('segmentation',)}
    """

    name = "segmentation"

    def __init__(self, *, trust: float | None = None, ceiling: float | None = None) -> None:
        super().__init__()
        self.trust, self.ceiling = trust, ceiling

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
        if weights is not None and self.trust is not None:
            return weighted_cross_entropy(logits, labels, 255 * weights, self.trust)
        unknown = ignore_label(step.labels.shape[1])
        entropy = pixel_cross_entropy(logits, labels, unknown)
        if weights is not None:
            entropy = entropy * weights
        elif self.ceiling is not None:
            entropy = underfit(entropy, ceiling=self.ceiling)
        count = (labels != unknown).sum()
        return joined_ratio(entropy.sum(), count, joined=self.training)
