"""Self-reinforcement: the student's masked view follows the teacher's whole views (Eq. 8-9)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fsr._core.checks import check_between, check_floating, check_shape
from fsr._core.module import TypedModule
from fsr.errors import ShapeError
from fsr.losses._center import Center
from fsr.losses._distributions import (
    check_temperature,
    confident_loss,
    teacher_distribution,
    uncertain_loss,
)


class ReinforcementLosses(NamedTuple):
    """The two self-reinforcement terms of Eq. 10, both scalars.

    Attributes:
        uncertain: Eq. 8, over the masked patch tokens.
        confident: Eq. 9, over the aggregated tokens.
    """

    uncertain: Tensor
    confident: Tensor


class SelfReinforcementLoss(TypedModule):
    r"""Both self-reinforcement losses, Eq. 8 and 9, with the teacher's centres.

    The aggregated tokens of view 1 and the patch tokens of view 2 have a centre each: the running
    mean that :func:`teacher_distribution` subtracts. In training mode the centres move after the
    value is computed, by the mean over the batch of all processes; in eval mode they rest.

    A loss that stays near ln K means that the student or the targets are near the uniform
    distribution. Uniform targets teach little; a smaller ``teacher_temperature`` sharpens them.

    Args:
        dim: projection width K.
        student_temperature: temperature of the student's softmax, above 0.
        center_momentum: momentum of the centres in [0, 1].

    Attributes:
        class_center: centre of the teacher's aggregated tokens of view 1.
        patch_center: centre of the teacher's patch tokens of view 2.

    Raises:
        TypeError: an argument is no number.
        ValueError: ``dim`` is below 1, ``student_temperature`` not above 0, or ``center_momentum``
            outside [0, 1].

    Source:
        Section "Feature Self-reinforcement", Eq. 8-9; section "Implementation Details".

    Example:
        >>> import torch
        >>> loss = SelfReinforcementLoss(dim=4)
        >>> views = torch.zeros(3, 2, 1 + 9, 4)
        >>> mask = torch.zeros(2, 9, dtype=torch.bool)
        >>> uncertain, confident = loss(*views, mask)
        >>> uncertain, confident
        (tensor(0.), tensor(1.3863))
    """

    def __init__(
        self, dim: int, *, student_temperature: float = 0.1, center_momentum: float = 0.9
    ) -> None:
        super().__init__()
        check_temperature("student_temperature", student_temperature)
        check_between("center_momentum", center_momentum, 0.0, 1.0)
        self.student_temperature = student_temperature
        self.class_center = Center(dim, center_momentum)
        self.patch_center = Center(dim, center_momentum)

    def forward(
        self,
        student: Tensor,
        teacher_view1: Tensor,
        teacher_view2: Tensor,
        mask: Tensor,
        teacher_temperature: float = 0.07,
        *,
        weights: Tensor | None = None,
    ) -> ReinforcementLosses:
        """Return both losses; in training mode, move the centres afterwards.

        Args:
            student: projector outputs of the masked view 2, before softmax, ``(B, 1+N, K)``; row 0
                is the aggregated token.
            teacher_view1: the teacher's for view 1, ``(B, 1+N, K)``; only row 0 is read.
            teacher_view2: the teacher's for the whole view 2, ``(B, 1+N, K)``.
            mask: True where view 2 was masked for the student, ``(B, N)`` boolean.
            teacher_temperature: the teacher's temperature at this step, above 0.
            weights: how much each patch token counts in Eq. 8, ``(B, N)``, finite and at least 0;
                see :func:`uncertain_loss`.

        Returns:
            Named pair ``(uncertain, confident)`` of scalars in at least float32.

        Raises:
            ShapeError: a shape is wrong or does not fit the others.
            TypeError: an input is not floating point, or ``mask`` not boolean.
            ValueError: ``teacher_temperature`` is not above 0, or ``weights`` are not as said.
        """
        width = self.class_center.value.shape[0]
        batch, rows, _ = check_shape("student", student, "B 1+N K", K=width)
        if batch < 1 or rows < 2:
            raise ShapeError(
                "student: expected (B, 1+N, K) with an image, an aggregated token and a patch, "
                f"got {tuple(student.shape)}"
            )
        sizes = {"B": batch, "1+N": rows, "K": width}
        for name, value in (("teacher_view1", teacher_view1), ("teacher_view2", teacher_view2)):
            check_shape(name, value, "B 1+N K", **sizes)
            check_floating(name, value)
        check_shape("mask", mask, "B N", B=batch, N=rows - 1)
        check_temperature("teacher_temperature", teacher_temperature)

        class_outputs, patch_outputs = teacher_view1[:, 0], teacher_view2[:, 1:]
        class_target = teacher_distribution(
            class_outputs, self.class_center.value, teacher_temperature
        )
        patch_target = teacher_distribution(
            patch_outputs, self.patch_center.value, teacher_temperature
        )
        losses = ReinforcementLosses(
            uncertain=uncertain_loss(
                student[:, 1:], patch_target, mask, self.student_temperature, weights=weights
            ),
            confident=confident_loss(student[:, 0], class_target, self.student_temperature),
        )
        if self.training:
            self.class_center.update(class_outputs)
            self.patch_center.update(patch_outputs)
        return losses

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"student_temperature={self.student_temperature}"
