"""Classification by image-level labels on the auxiliary block's tokens."""

from __future__ import annotations

from fsr.objective.terms._classification import Classification


class AuxiliaryClassification(Classification):
    """L_cls of the auxiliary block's classifier, whose CAM makes the token labels.

    Args:
        view: the view that is classified, from 1.

    Source:
        Section "A Single-Stage Framework for WSSS".

    Example:
        >>> AuxiliaryClassification().needs(0).student
        {1: ('aux_class_logits',)}
    """

    name = "auxiliary"
    head = "aux_class_logits"
