"""Recovery of the masked patches from the teacher (Eq. 8)."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import boundary_weights, uncertain_loss
from fsr.objective._labels import TokenLabels
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.objective._targets import TeacherTargets


class UncertainReinforcement(Term):
    """L_u of Eq. 10: what the student makes of masked patches follows what the teacher sees there.

    Args:
        targets: the teacher's distributions, of the patches of the masked view.
        temperature: the student's softmax temperature, above 0.
        boundary: labels of the masked view's tokens at whose boundary a patch counts more (not in
            the paper); None: all count alike.
        boundary_weight: what a patch at such a boundary counts more, at least 0.
        boundary_from: step from which on it does; before it no CAM of the view is made.

    Source:
        Section "Feature Self-reinforcement", Eq. 8.

    Example:
        >>> term = UncertainReinforcement(TeacherTargets(dim=8, view=2))
        >>> term.needs(0).student == term.needs(0).teacher == {2: ("projections",)}
        True
    """

    name = "uncertain"

    def __init__(
        self,
        targets: TeacherTargets,
        *,
        temperature: float = 0.1,
        boundary: TokenLabels | None = None,
        boundary_weight: float = 1.0,
        boundary_from: int = 0,
    ) -> None:
        super().__init__()
        self.targets, self.temperature = targets, temperature
        self.boundary = boundary
        self.boundary_weight, self.boundary_from = boundary_weight, boundary_from

    def needs(self, number: int) -> Needs:
        """Return the projections of both networks, and what the boundary's labels read."""
        needs = Needs(student={self.targets.view: ("projections",)}) | self.targets.needs(number)
        if self.boundary is not None and number >= self.boundary_from:
            needs |= self.boundary.needs(number)
        return needs

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; zero where the step masks nothing."""
        view = self.targets.view
        student = step.student("projections", view)[:, 1:]
        mask = step.mask(view)
        if mask is None:
            raise ValueError(f"masks: expected one of view {view}, which L_u recovers, got none")
        weights = None
        if self.boundary is not None and step.number >= self.boundary_from:
            labels = step.get(self.boundary)
            weights = boundary_weights(labels, self.boundary_weight).flatten(1)
        return uncertain_loss(
            student, step.get(self.targets), mask.flatten(1), self.temperature, weights=weights
        )
