"""The teacher's CAM as the target of the student's; not in the paper."""

from __future__ import annotations

from torch import Tensor

from fsr.cam import class_activation_maps
from fsr.losses import cam_consistency_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.presets import CAMSource

TEACHERS = CAMSource("teacher", "final", view=1, reuse=True)


class CamConsistency(Term):
    """The student's CAM of a view, from its tokens and its classifier, follows the teacher's.

    A teacher that is still mostly its initial weights points nowhere: start the term at
    :func:`fsr.presets.teacher_source_step`.

    Args:
        source: the teacher's CAM; its view and layer are those of the student's.

    Raises:
        ValueError: ``source`` is a CAM of the student.

    Source:
        Not in the paper; see :func:`fsr.losses.cam_consistency_loss`.

    Example:
        >>> needs = CamConsistency().needs(0).complete()
        >>> needs.student == needs.teacher == {1: ("tokens",)}
        True
    """

    name = "cam_consistency"

    def __init__(self, source: CAMSource = TEACHERS) -> None:
        super().__init__()
        if source.network != "teacher":
            raise ValueError(
                f"source: expected a CAM of the teacher, got that of the {source.describe()}"
            )
        self.source = source

    def needs(self, number: int) -> Needs:
        """Return the student's tokens and the teacher's CAM."""
        heads = {self.source.view: (self.source.head,)}
        return Needs(student=heads, cams=(self.source,))

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        source, network = self.source, step.network
        classifier = network.classifier if source.layer == "final" else network.aux_classifier
        tokens = step.student(source.head, source.view)
        scores = class_activation_maps(tokens, classifier.weight, step.grid)
        return cam_consistency_loss(scores, step.cam(source, step.grid), step.labels)
