"""Two networks that learn from labels and from each other."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import cotraining_loss
from fsr.objective._class_mix import ClassMix, Mixed
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Cotraining(Term):
    """Both networks learn from trusted labels of mixed images, elsewhere from each other.

    Args:
        mix: the mixed batch; it is view 2 of the step.
        confident_weight: how much more a trusted pixel on a boundary counts.
        unconfident_weight: the same of the others.

    Source:
        Rong et al., CVPR 2023 (ShenghaiRong/BECO@6a57bed).

    Example:
        >>> from fsr.objective import GivenLabels, OnlineLabels
        >>> Cotraining(ClassMix(GivenLabels(), OnlineLabels())).needs(0).student
        {2: ('first', 'second')}
    """

    name = "cotraining"

    def __init__(
        self, mix: ClassMix, *, confident_weight: float = 0.2, unconfident_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.mix = mix
        self.confident_weight, self.unconfident_weight = confident_weight, unconfident_weight

    def needs(self, number: int) -> Needs:
        """Return the logits of both networks."""
        return Needs(student={2: ("first", "second")}) | self.mix.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; its four parts can be seen afterwards."""
        mixed: Mixed = step.get(self.mix)
        loss = cotraining_loss(
            step.student("first", 2),
            step.student("second", 2),
            mixed.labels,
            mixed.confident,
            mixed.boundary,
            confident_weight=self.confident_weight,
            unconfident_weight=self.unconfident_weight,
        )
        step.seen |= {name: part.detach() for name, part in loss.parts._asdict().items()}
        return loss.total
