"""SEAM's terms: maps of two sizes of an image agree, and their lowest quarter stays low."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import torch
from torch import Tensor, nn

from fsr.losses import classification_loss, equivariance_losses, min_pooling_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Part, Term
from fsr.objective._resized import SizedMaps
from fsr.objective._step import Step


class ClassificationOfViews(Term):
    """Multi-label soft margin loss of the final classifier, a mean over views.

    Args:
        views: the views that are classified, from 1.

    Example:
        >>> ClassificationOfViews((1, 3)).needs(0).student
        {1: ('class_logits',), 3: ('class_logits',)}
    """

    name = "classification"

    def __init__(self, views: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.views = tuple(views)

    def needs(self, number: int) -> Needs:
        """Return the logits of the views."""
        return Needs(student=dict.fromkeys(self.views, ("class_logits",)))

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        logits = [step.student("class_logits", view) for view in self.views]
        return torch.stack([classification_loss(each, step.labels) for each in logits]).mean()


class MinPooling(Term):
    """The lowest quarter of the maps of an image's classes is held down, a mean over views.

    Args:
        maps: the maps of each view, background first.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> MinPooling([SizedMaps("revised", 1)]).needs(0).student
        {1: ('revised',)}
    """

    name = "min_pooling"

    def __init__(self, maps: Sequence[SizedMaps]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def needs(self, number: int) -> Needs:
        """Return the maps."""
        return _needs(self.maps, number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        present = step.labels[:, :, None, None]
        losses = [min_pooling_loss(step.get(each)[:, 1:] * present) for each in _parts(self.maps)]
        return torch.stack(losses).mean()


class ViewDifferences(Part):
    """Differences of the maps of two views: within, and crosswise with the revised ones.

    Args:
        maps: plain and revised maps of view 1, then of the smaller view; background first.
        share: which part of an image's values counts crosswise.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> maps = [SizedMaps(head, view) for view in (1, 3) for head in ("cam", "revised")]
        >>> ViewDifferences(maps).needs(0).student
        {1: ('cam', 'revised'), 3: ('cam', 'revised')}
    """

    def __init__(self, maps: Sequence[SizedMaps], share: float = 0.2) -> None:
        super().__init__()
        self.maps, self.share = nn.ModuleList(maps), share

    def needs(self, number: int) -> Needs:
        """Return the maps."""
        return _needs(self.maps, number)

    def forward(self, step: Step) -> tuple[Tensor, Tensor]:
        """Return both differences, scalars."""
        cam1, revised1, cam2, revised2 = (step.get(each) for each in _parts(self.maps))
        return equivariance_losses(cam1, revised1, cam2, revised2, step.labels, self.share)


class Equivariance(Term):
    """Plain maps of an image and of its smaller copy agree (ER of SEAM).

    Args:
        differences: of the maps of both views.

    Example:
        >>> maps = [SizedMaps(head, view) for view in (1, 3) for head in ("cam", "revised")]
        >>> Equivariance(ViewDifferences(maps)).name
        'equivariance'
    """

    name = "equivariance"
    place = 0

    def __init__(self, differences: ViewDifferences) -> None:
        super().__init__()
        self.differences = differences

    def needs(self, number: int) -> Needs:
        """Return the maps."""
        return self.differences.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        value: Tensor = step.get(self.differences)[self.place]
        return value


class CrossEquivariance(Equivariance):
    """Each view's revised maps agree with the other's plain ones (ECR of SEAM).

    Args:
        differences: of the maps of both views.

    Example:
        >>> maps = [SizedMaps(head, view) for view in (1, 3) for head in ("cam", "revised")]
        >>> CrossEquivariance(ViewDifferences(maps)).name
        'cross_equivariance'
    """

    name = "cross_equivariance"
    place = 1


def _parts(modules: nn.ModuleList) -> list[Part]:
    """Return the parts of a list, as such."""
    return [module for module in modules if isinstance(module, Part)]


def _needs(modules: nn.ModuleList, number: int) -> Needs:
    """Return what several parts need."""
    return reduce(or_, (part.needs(number) for part in _parts(modules)), Needs())
