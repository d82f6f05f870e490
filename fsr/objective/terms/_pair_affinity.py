"""Affinity of pairs of patches, taught by which of them show one class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.labels import ignore_label
from fsr.affinity import affinity_labels, radius_mask
from fsr.losses import affinity_loss
from fsr.objective._labels import PhasedLabels, PixelLabels
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class PairAffinity(Term):
    """Near pairs of patches of one class are drawn to affinity 1, of different classes to 0.

    A patch has the label of its upper left pixel.

    Args:
        labels: labels of pixels; their view is the one whose affinity is taught.
        radius: pairs further apart are left out.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> from fsr.presets import CAMSource
        >>> PairAffinity(PixelLabels(CAMSource())).needs(0).student
        {1: ('affinity',)}
    """

    name = "affinity"

    def __init__(self, labels: PixelLabels | PhasedLabels, radius: int = 8) -> None:
        super().__init__()
        self.labels, self.radius = labels, radius

    def needs(self, number: int) -> Needs:
        """Return the affinity of the view, and what its labels read."""
        heads = {self.labels.source.view: ("affinity",)}
        return Needs(student=heads) | self.labels.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar; the patches' labels can be seen afterwards."""
        pixels: Tensor = step.get(self.labels)
        # Up to 65535: exact as float32, which is what every device takes the nearest of.
        patches = F.interpolate(pixels[:, None].float(), step.grid, mode="nearest")[:, 0].long()
        near = radius_mask(step.grid, self.radius, device=patches.device)
        step.seen["affinity_labels"] = patches
        affinity = step.student("affinity", self.labels.source.view)
        pairs = affinity_labels(patches, near, ignore_index=ignore_label(step.labels.shape[1]))
        return affinity_loss(affinity, pairs, joined=self.training)
