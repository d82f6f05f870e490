"""Class-token contrast of local crops with global views."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fsr.losses import class_token_contrast
from fsr.objective._crops import CropView, LocalCrops
from fsr.objective._needs import Needs
from fsr.objective._part import Part, Term
from fsr.objective._step import Step


class ClassTokenContrast(Term):
    """Crops that show an object are drawn to the image's class token, the others pushed off.

    The teacher is an average of the projection head alone, over the student's own class tokens
    without gradient: the encoder is shared, so no further pass is made.

    Args:
        crops: the crops; they are view 3 of the step.
        projector: the student's projection head, whose average the term keeps.
        momentum: momentum of that average, which moves before it is used.
        temperature: temperature of the contrast, above 0.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> from fsr.presets import CAMSource
        >>> term = ClassTokenContrast(LocalCrops(CAMSource(layer="auxiliary")), nn.Identity())
        >>> term.needs(0).student[3]
        ('class_projection',)
    """

    name = "contrast"

    def __init__(
        self,
        crops: LocalCrops,
        projector: nn.Module,
        *,
        momentum: float = 0.9,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        self.crops, self.momentum, self.temperature = crops, momentum, temperature
        self.average = copy.deepcopy(projector).requires_grad_(False)

    def made_views(self) -> Mapping[int, Part]:
        """Return the crops as view 3."""
        return {3: CropView(self.crops)}

    def needs(self, number: int) -> Needs:
        """Return class tokens of both views, projections of these and of the crops."""
        both = ("class_token", "class_projection")
        heads = {1: both, 2: both, 3: ("class_projection",)}
        return Needs(student=heads) | self.crops.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        if self.training:
            self._move(step)
        positive = step.get(self.crops).positive
        local = step.student("class_projection", 3).unflatten(0, positive.shape).transpose(0, 1)
        views = [step.student("class_projection", view) for view in (1, 2)]
        with torch.no_grad():
            tokens = torch.stack([step.student("class_token", view) for view in (1, 2)])
            teacher: Tensor = self.average(tokens)
        student = torch.cat([torch.stack(views), local])
        shown = torch.cat([positive.new_ones(len(positive), 2), positive], dim=1)
        step.seen["positive_crops"] = positive.float().mean()
        return class_token_contrast(student, teacher, shown, self.temperature)

    @torch.no_grad()
    def _move(self, step: Step) -> None:
        """Move the average towards the student's head."""
        head: Any = step.network.heads["class_projection"]
        own = head.projector.parameters()
        for kept, new in zip(self.average.parameters(), own, strict=True):
            kept.lerp_(new.to(kept), 1 - self.momentum)
