"""The dense energy of a segmentation, which Eq. 10 does not have and the released code does."""

from __future__ import annotations

from torch import Tensor

from fsr._core.boxes import outside_box
from fsr.losses import DenseEnergyLoss
from fsr.objective._labels import PhasedLabels, PixelLabels
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._reliable_region import ReliableRegion
from fsr.objective._step import Step


class DenseEnergy(Term):
    """Neighbours of like colour get like labels, where pseudo labels do not say otherwise.

    Args:
        labels: pseudo labels; their view is the one that is segmented. Of a padded crop what lies
            outside its box takes no part.
        loss: the energy; the released code's constants by default.

    Source:
        Tang et al., "On Regularized Losses for Weakly-supervised CNN Segmentation", ECCV 2018; the
        released code.

    Example:
        >>> from fsr.presets import CAMSource
        >>> DenseEnergy(PixelLabels(CAMSource())).loss.scale
        0.5
    """

    name = "energy"

    def __init__(
        self,
        labels: PixelLabels | PhasedLabels | ReliableRegion,
        loss: DenseEnergyLoss | None = None,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.loss = DenseEnergyLoss() if loss is None else loss

    def needs(self, number: int) -> Needs:
        """Return the decoder's logits of the view, and what its labels read."""
        heads = {self.labels.source.view: ("segmentation",)}
        return Needs(student=heads) | self.labels.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the energy, scalar."""
        view, labels = self.labels.source.view, step.get(self.labels)
        logits = step.student("segmentation", view)
        box = step.given("box") if view == 1 else None
        inside = None
        if box is not None:
            inside = ~outside_box(box.to(labels.device), labels.shape[1], labels.shape[2])
        energy: Tensor = self.loss(255 * step.image(view), logits, labels, inside)
        return energy
