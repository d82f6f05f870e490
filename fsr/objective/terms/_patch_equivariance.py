"""Second views' patches agree with the first view's, moved as the picture was."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.modes import eval_mode
from fsr._core.numerics import at_least_float32
from fsr.cam import split_tiles
from fsr.losses import equivariance_targets, patch_cross_entropy
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.objective._tiled import TiledViews, Tiles


class PatchEquivariance(Term):
    """Cross entropy of the patches of tiled second views with those of view 1.

    The targets come from a pass over view 1 in evaluation mode, without gradient, filtered by the
    labels. View 1 is what is moved, so there is nothing of its own to undo.

    Args:
        views: the second views; their pictures are view 2 of the step.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> PatchEquivariance(TiledViews()).needs(0).student
        {2: ('segmentation',)}
    """

    name = "equivariance"

    def __init__(self, views: TiledViews) -> None:
        super().__init__()
        self.views = views

    def needs(self, number: int) -> Needs:
        """Return the patches' logits of the second views."""
        return Needs(student={2: ("segmentation",)}) | self.views.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar.

        Raises:
            ValueError: the step was given a view 2 of its own.
        """
        if len(step.views) > 1:
            raise ValueError(
                f"view2: expected None, as the term {self.name!r} makes its second views out of "
                "view 1, got one"
            )
        tiles: Tiles = step.get(self.views)
        grid = (self.views.tiles, self.views.tiles)
        seen = split_tiles(_probabilities(step.student("segmentation", 2)), grid)
        with torch.no_grad(), eval_mode(step.network):
            whole = step.network(step.view(1), outputs=("segmentation",)).head("segmentation")
        targets = equivariance_targets(
            _probabilities(whole),
            F.pad(step.labels, (1, 0), value=1),
            flips=torch.zeros_like(tiles.flips),
            target_flips=tiles.flips,
            size=(seen.shape[2], seen.shape[3]),
            box=tiles.box,
        )
        return patch_cross_entropy(seen, targets)


def _probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over background and classes, in float32 at least."""
    return at_least_float32(logits).softmax(dim=1)
