"""Recovery of the masked patches as tokens, without prototypes; not in the paper."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_choice
from fsr.losses import REGRESSION_FORMS, RegressionForm, regression_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class RegressionReinforcement(Term):
    """In the place of L_u: the student's tokens of masked patches follow the teacher's tokens.

    It reads no projections and has no state: there are no prototypes, centres or temperatures.

    Args:
        form: ``"cosine"`` or ``"smooth_l1"``; see :func:`fsr.losses.regression_loss`.
        view: the masked view, from 1.

    Raises:
        ValueError: there is no such form.

    Source:
        Not in the paper; see :func:`fsr.losses.regression_loss`.

    Example:
        >>> term = RegressionReinforcement("smooth_l1")
        >>> term.needs(0).student == term.needs(0).teacher == {2: ("tokens",)}
        True
    """

    name = "uncertain"

    def __init__(self, form: RegressionForm = "cosine", *, view: int = 2) -> None:
        super().__init__()
        check_choice("form", form, REGRESSION_FORMS)
        self.form, self.view = form, view

    def needs(self, number: int) -> Needs:
        """Return the final tokens of both networks."""
        heads = {self.view: ("tokens",)}
        return Needs(student=heads, teacher=heads)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; zero where the step masks nothing."""
        mask = step.mask(self.view)
        if mask is None:
            raise ValueError(
                f"masks: expected one of view {self.view}, which is recovered, got none"
            )
        return regression_loss(
            step.student("tokens", self.view),
            step.teacher("tokens", self.view),
            mask.flatten(1),
            self.form,
        )
