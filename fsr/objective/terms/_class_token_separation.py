"""Class tokens kept apart, and the classification by patches beside that by class tokens."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import class_token_separation
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.objective.terms._classification import Classification


class PatchClassification(Classification):
    """Multi-label soft margin loss of the head ``"patch_logits"`` on a view.

    Args:
        view: the view that is classified, from 1.

    Source:
        Xu et al., MCTformer+, TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> PatchClassification().needs(0).student
        {1: ('patch_logits',)}
    """

    name = "patch_classification"
    head = "patch_logits"


class ClassTokenSeparation(Term):
    """Cross entropy of the similarities of each present class's token with all class tokens.

    Source:
        Xu et al., MCTformer+, TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> ClassTokenSeparation().needs(0).student
        {1: ('class_tokens',)}
    """

    name = "separation"

    def needs(self, number: int) -> Needs:
        """Return the class tokens of view 1."""
        return Needs(student={1: ("class_tokens",)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        tokens = step.student("class_tokens", 1).transpose(0, 1)
        return class_token_separation(tokens, step.labels)
