"""Self-reinforcement: the student's masked view follows the teacher's whole views (Eq. 8-9)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_choice,
    check_floating,
    check_same_device,
    check_shape,
)
from fsr._core.module import TypedModule
from fsr.errors import ShapeError
from fsr.losses._center import Center
from fsr.losses._distributions import check_temperature, confident_loss, uncertain_loss
from fsr.losses._information import target_information
from fsr.losses._scale import Scale
from fsr.losses._target_forms import TARGET_FORMS, TargetForm, target_distribution


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

    Targets near the uniform distribution teach little, and at the paper's temperatures they are
    near it: ``loss.nats`` tells how far they were in the last call. ``target="standardised"``
    divides the outputs by their spread and keeps them informative. A state holds the spreads beside
    the centres, so that of ``"centred"`` has two keys less and is not one of the other forms.

    Args:
        dim: projection width K.
        student_temperature: temperature of the student's softmax, above 0.
        center_momentum: momentum of the centres in [0, 1].
        target: form of the targets: ``"centred"``, the paper's; ``"standardised"`` or
            ``"sinkhorn"`` (not in the paper); see :func:`fsr.losses.target_distribution`.
        scale_momentum: momentum in [0, 1) of the spreads that the latter two divide by; 0 is the
            batch's own. Like the centres they are of all processes together and saved.

    Attributes:
        class_center: centre of the teacher's aggregated tokens of view 1.
        patch_center: centre of the teacher's patch tokens of view 2.
        class_scale: spread of the former, None for ``"centred"``.
        patch_scale: spread of the latter, None for ``"centred"``.
        nats: mean divergence of the last call's targets from uniform in this process, a scalar:
            the mean of that of the aggregated tokens and that of the patches; NaN before the first
            call. It is no part of the state.

    Raises:
        TypeError: an argument is no number.
        ValueError: ``dim`` is below 1, ``student_temperature`` not above 0, ``center_momentum``
            outside [0, 1], ``scale_momentum`` outside [0, 1), or ``target`` unknown.

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
        self,
        dim: int,
        *,
        student_temperature: float = 0.1,
        center_momentum: float = 0.9,
        target: TargetForm = "centred",
        scale_momentum: float = 0.0,
    ) -> None:
        super().__init__()
        check_temperature("student_temperature", student_temperature)
        check_between("center_momentum", center_momentum, 0.0, 1.0)
        check_choice("target", target, TARGET_FORMS)
        self.student_temperature, self.target = student_temperature, target
        self.class_center = Center(dim, center_momentum)
        self.patch_center = Center(dim, center_momentum)
        scaled = target != "centred"
        self.class_scale = Scale(scale_momentum) if scaled else None
        self.patch_scale = Scale(scale_momentum) if scaled else None
        self.nats = torch.tensor(float("nan"))

    def forward(
        self,
        student: Tensor,
        teacher_view1: Tensor,
        teacher_view2: Tensor,
        mask: Tensor,
        teacher_temperature: float | None = None,
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
            teacher_temperature: the teacher's temperature at this step, above 0; None takes that of
                the form: 0.07 for ``"centred"``, 0.4 standard deviations for the others.
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
        check_same_device(
            student=student,
            teacher_view1=teacher_view1,
            teacher_view2=teacher_view2,
            mask=mask,
            weights=weights,
        )
        if teacher_temperature is not None:
            check_temperature("teacher_temperature", teacher_temperature)

        class_outputs, patch_outputs = teacher_view1[:, 0], teacher_view2[:, 1:]
        taught = partial(
            target_distribution,
            self.target,
            temperature=teacher_temperature,
            training=self.training,
        )
        class_target, class_spread = taught(class_outputs, self.class_center, self.class_scale)
        patch_target, patch_spread = taught(patch_outputs, self.patch_center, self.patch_scale)
        losses = ReinforcementLosses(
            uncertain=uncertain_loss(
                student[:, 1:], patch_target, mask, self.student_temperature, weights=weights
            ),
            confident=confident_loss(student[:, 0], class_target, self.student_temperature),
        )
        told = target_information(class_target).nats + target_information(patch_target).nats
        self.nats = told / 2
        if self.training:
            self.class_center.update(class_outputs)
            self.patch_center.update(patch_outputs)
            if self.class_scale is not None and class_spread is not None:
                self.class_scale.update(class_spread)
            if self.patch_scale is not None and patch_spread is not None:
                self.patch_scale.update(patch_spread)
        return losses

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"student_temperature={self.student_temperature}, target={self.target!r}"
