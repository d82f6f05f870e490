"""The teacher's targets: its outputs as distributions, centred by their running mean (Eq. 1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fsr._core.checks import check_choice
from fsr.losses import Center, teacher_distribution
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.schedules import Schedule

Rows = Literal["aggregate", "patches"]


class TeacherTargets(Part):
    """Distributions P of the teacher's projections of one view, and the centre that they have.

    In training mode the centre moves once a step, by the mean over all processes, when all terms
    are computed.

    Args:
        dim: projection width K.
        rows: ``"patches"`` for one distribution per patch token (Eq. 8), ``"aggregate"`` for one
            of the aggregated token (Eq. 9).
        view: the view that the teacher looks at, from 1.
        temperature: the teacher's temperature, above 0, or a function of the step.
        center_momentum: momentum of the centre, in [0, 1].

    Raises:
        ValueError: an option is out of range.

    Source:
        Eq. 1; section "Implementation Details".

    Example:
        >>> targets = TeacherTargets(4, "patches", view=2)
        >>> targets.distribution(torch.zeros(1, 9, 4), number=0).shape
        torch.Size([1, 9, 4])
    """

    def __init__(
        self,
        dim: int,
        rows: Rows = "patches",
        *,
        view: int = 2,
        temperature: float | Schedule = 0.07,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        check_choice("rows", rows, ("aggregate", "patches"))
        self.rows, self.view, self.temperature = rows, view, temperature
        self.center = Center(dim, center_momentum)

    def needs(self, number: int) -> Needs:
        """Return the teacher's projections of the view."""
        return Needs(teacher={self.view: ("projections",)})

    def distribution(self, outputs: Tensor, number: int) -> Tensor:
        """Return the distributions of outputs ``(..., K)`` at a step; the centre rests."""
        temperature = self.temperature
        if callable(temperature):
            temperature = temperature(number)
        return teacher_distribution(outputs, self.center.value, temperature)

    @torch.no_grad()
    def forward(self, step: Step) -> Tensor:
        """Return the targets of a step, ``(B, N, K)`` for patches or ``(B, K)``."""
        projections = step.teacher("projections", self.view)
        outputs = projections[:, 0] if self.rows == "aggregate" else projections[:, 1:]
        if self.training:
            step.afterwards(lambda: self.center.update(outputs))
        return self.distribution(outputs, step.number)
