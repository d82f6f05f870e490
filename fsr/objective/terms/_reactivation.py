"""ReCAM's term: the features of each present class, told from all other classes."""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor

from fsr.losses import recam_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Reactivation(Term):
    """Softmax cross entropy of the features under each present class's map, of a view.

    The share of classes that it gets right is left to be seen as ``"class_accuracy"``.

    Args:
        view: the view, from 1.

    Source:
        Chen et al., CVPR 2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> Reactivation().needs(0).student
        {1: ('tokens', 'predictor')}
    """

    name = "reactivation"

    def __init__(self, view: int = 1) -> None:
        super().__init__()
        self.view = view

    def needs(self, number: int) -> Needs:
        """Return the tokens of the view and the predictor's weight."""
        return Needs(student={self.view: ("tokens", "predictor")})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        tokens = step.student("tokens", self.view)
        features = rearrange(tokens, "b (h w) d -> b d h w", h=step.grid[0])
        classifier: Any = step.network.classifier
        predictor = step.student("predictor", self.view)[0]  # the same for every image
        loss, accuracy = recam_loss(features, classifier.weight, predictor, step.labels)
        step.seen["class_accuracy"] = accuracy
        return loss
