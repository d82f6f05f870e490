"""Features of a segmentation around the centres of its classes."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import prototype_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Prototypes(Term):
    """Pixels close to the centre of the class that they are given, centres far from each other.

    Args:
        features: name of the head that the features come from, of the segmentation's size.

    Source:
        Zhang et al., "End-to-End Weakly Supervised Semantic Segmentation with Reliable Region
        Mining", Pattern Recognition 2022 (zbf1991/RRM@6d4191c).

    Example:
        >>> Prototypes().needs(0).student
        {1: ('segmentation', 'segmentation_features')}
    """

    name = "prototypes"

    def __init__(self, features: str = "segmentation_features") -> None:
        super().__init__()
        self.features = features

    def needs(self, number: int) -> Needs:
        """Return the segmentation and the features."""
        return Needs(student={1: ("segmentation", self.features)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        features = step.student(self.features, 1)
        return prototype_loss(step.student("segmentation", 1), features)
