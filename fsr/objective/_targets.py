"""The teacher's targets: its outputs as distributions (Eq. 1), and how much these say."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fsr._core.checks import check_choice
from fsr.losses import (
    TARGET_FORMS,
    Center,
    Scale,
    TargetForm,
    target_distribution,
    target_information,
)
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.schedules import Schedule

Rows = Literal["aggregate", "patches"]


class TeacherTargets(Part):
    """Distributions P of the teacher's projections of one view, and the centre that they have.

    In training mode the centre moves once a step, by the mean over all processes, when all terms
    are computed, and so does the spread that some forms divide by. How much the targets say is left
    to be seen as ``patches_nats``, ``patches_information`` and ``patches_used`` (of aggregates:
    ``aggregate_nats`` ...); see :func:`fsr.losses.target_information`.

    Args:
        dim: projection width K.
        rows: ``"patches"`` for one distribution per patch token (Eq. 8), ``"aggregate"`` for one
            of the aggregated token (Eq. 9).
        view: the view that the teacher looks at, from 1.
        temperature: the teacher's temperature, above 0, or a function of the step; None takes the
            form's own.
        center_momentum: momentum of the centre, in [0, 1].
        form: ``"centred"``, the paper's, or another of :data:`fsr.losses.TARGET_FORMS`.
        scale_momentum: momentum of the spread, in [0, 1); 0 is the batch's own.

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
        temperature: float | Schedule | None = None,
        center_momentum: float = 0.9,
        form: TargetForm = "centred",
        scale_momentum: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("rows", rows, ("aggregate", "patches"))
        check_choice("form", form, TARGET_FORMS)
        self.rows, self.view, self.temperature, self.form = rows, view, temperature, form
        self.center = Center(dim, center_momentum)
        self.scale = None if form == "centred" else Scale(scale_momentum)

    def needs(self, number: int) -> Needs:
        """Return the teacher's projections of the view."""
        return Needs(teacher={self.view: ("projections",)})

    def distribution(self, outputs: Tensor, number: int) -> Tensor:
        """Return the distributions of outputs ``(..., K)`` at a step; the centre rests.

        The spread is as kept, and nothing is asked of other processes: one may look alone.
        """
        return self._distribution(outputs, number, training=False)[0]

    @torch.no_grad()
    def forward(self, step: Step) -> Tensor:
        """Return the targets of a step, ``(B, N, K)`` for patches or ``(B, K)``."""
        projections = step.teacher("projections", self.view)
        outputs = projections[:, 0] if self.rows == "aggregate" else projections[:, 1:]
        targets, spread = self._distribution(outputs, step.number, training=self.training)
        if self.training:
            step.afterwards(lambda: self._move(outputs, spread))
        told = target_information(targets)._asdict()
        step.seen |= {f"{self.rows}_{name}": value for name, value in told.items()}
        return targets

    def _distribution(
        self, outputs: Tensor, number: int, *, training: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return distributions, and the spread that the outputs were divided by."""
        temperature = self.temperature
        if callable(temperature):
            temperature = temperature(number)
        return target_distribution(
            self.form, outputs, self.center, self.scale, temperature, training=training
        )

    def _move(self, outputs: Tensor, spread: Tensor | None) -> None:
        """Move the centre and the spread on."""
        self.center.update(outputs)
        if self.scale is not None and spread is not None:
            self.scale.update(spread)
