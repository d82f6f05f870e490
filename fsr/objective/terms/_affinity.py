"""Patch-token contrast, the affinity term of Eq. 10."""

from __future__ import annotations

from torch import Tensor

from fsr._core.labels import ignore_label
from fsr.losses import patch_token_contrast
from fsr.objective._labels import TokenLabels
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class Affinity(Term):
    """L_aff of Eq. 10: tokens of one label alike, tokens of different labels apart.

    Args:
        labels: labels of the tokens; their view is the one whose final tokens are contrasted.

    Source:
        Section "A Single-Stage Framework for WSSS"; Ru et al., CVPR 2023.

    Example:
        >>> from fsr.presets import CAMSource
        >>> term = Affinity(TokenLabels(CAMSource(layer="auxiliary", reuse=True)))
        >>> term.needs(0).complete().student
        {1: ('tokens', 'aux_tokens')}
    """

    name = "affinity"

    def __init__(self, labels: TokenLabels) -> None:
        super().__init__()
        self.labels = labels

    def needs(self, number: int) -> Needs:
        """Return the final tokens of the view, and what its labels read."""
        return Needs(student={self.labels.source.view: ("tokens",)}) | self.labels.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        labels: Tensor = step.get(self.labels)
        tokens = step.student("tokens", self.labels.source.view)
        unknown = ignore_label(step.labels.shape[1])
        return patch_token_contrast(tokens, labels.flatten(1), unknown, joined=self.training)
