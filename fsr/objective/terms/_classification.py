"""Classification by image-level labels, on the final tokens."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import classification_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Classification(Term):
    """L_cls of Eq. 10: multi-label soft margin loss of the final classifier on a view.

    Args:
        view: the view that is classified, from 1.

    Source:
        Section "A Single-Stage Framework for WSSS".

    Example:
        >>> Classification(view=2).needs(0).student
        {2: ('class_logits',)}
    """

    name = "classification"
    head = "class_logits"

    def __init__(self, view: int = 1) -> None:
        super().__init__()
        self.view = view

    def needs(self, number: int) -> Needs:
        """Return the logits of the view."""
        return Needs(student={self.view: (self.head,)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        return classification_loss(step.student(self.head, self.view), step.labels)
