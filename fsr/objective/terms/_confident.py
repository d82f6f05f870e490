"""Consistency of the aggregated confident patches (Eq. 9)."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import confident_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.objective._targets import TeacherTargets


class ConfidentReinforcement(Term):
    """L_c of Eq. 10: the student's summary of unmasked patches follows the teacher's of the image.

    Args:
        targets: the teacher's distributions, of the aggregated token of the whole view.
        view: the student's view, the masked one.
        temperature: the student's softmax temperature, above 0.

    Source:
        Section "Feature Self-reinforcement", Eq. 9.

    Example:
        >>> term = ConfidentReinforcement(TeacherTargets(8, "aggregate", view=1), view=2)
        >>> term.needs(0).student, term.needs(0).teacher
        ({2: ('projections',)}, {1: ('projections',)})
    """

    name = "confident"

    def __init__(self, targets: TeacherTargets, *, view: int = 2, temperature: float = 0.1) -> None:
        super().__init__()
        self.targets, self.view, self.temperature = targets, view, temperature

    def needs(self, number: int) -> Needs:
        """Return the projections of both networks."""
        return Needs(student={self.view: ("projections",)}) | self.targets.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        student = step.student("projections", self.view)[:, 0]
        return confident_loss(student, step.get(self.targets), self.temperature)
