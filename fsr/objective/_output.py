"""What the training objective returns, and the sum of Eq. 10 itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr.presets import LOSS_TERMS


class ObjectiveOutput(NamedTuple):
    """Every term of Eq. 10 for one batch, unweighted, and what they were computed from.

    Affinity, segmentation and energy without a weight at this step, and the two reinforcement
    terms if neither has one, are not computed: they are zeros that are attached to the graph.

    Attributes:
        total: weighted sum of the seven terms, scalar; call ``backward`` on this one.
        classification: L_cls on the final classifier, scalar.
        auxiliary: L_cls on the auxiliary classifier, scalar.
        affinity: L_aff, patch-token contrast, scalar.
        segmentation: L_seg against the pseudo labels, scalar.
        uncertain: L_u, Eq. 8, scalar.
        confident: L_c, Eq. 9, scalar.
        energy: dense energy, scalar.
        mask: patches of view 2 that the student did not see, ``(B, H, W)``, True = masked.
        pseudo_labels: labels of view 1, ``(B, height, width)``, int64; 255 (ignored) everywhere
            while neither segmentation nor energy has a weight.
        affinity_labels: token labels of view 1, ``(B, H, W)``, int64; 255 likewise.
        segmentation_logits: decoder output on view 1, detached, ``(B, C+1, H, W)``.
        cam: CAM behind the pseudo labels, ``(B, C, height, width)``, or None likewise.
        weights: weight of each term at this step, by name.
        teacher_temperature: temperature of the teacher's softmax at this step.
        mask_strategy: how the mask was chosen at this step.
    """

    total: Tensor
    classification: Tensor
    auxiliary: Tensor
    affinity: Tensor
    segmentation: Tensor
    uncertain: Tensor
    confident: Tensor
    energy: Tensor
    mask: Tensor
    pseudo_labels: Tensor
    affinity_labels: Tensor
    segmentation_logits: Tensor
    cam: Tensor | None
    weights: dict[str, float]
    teacher_temperature: float
    mask_strategy: str

    def terms(self) -> dict[str, Tensor]:
        """Return the seven terms by name, unweighted."""
        return {term: getattr(self, term) for term in LOSS_TERMS}


def total_loss(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    r"""Weighted sum of Eq. 10, :math:`\sum_i \lambda_i L_i`.

    Args:
        terms: the terms by name, scalars.
        weights: the weight of each of them, by the same names.

    Returns:
        Scalar.

    Source:
        Section "Feature Self-reinforcement", Eq. 10.

    Example:
        >>> terms = {"classification": torch.tensor(2.0), "affinity": torch.tensor(5.0)}
        >>> total_loss(terms, {"classification": 1.0, "affinity": 0.2})
        tensor(3.)
    """
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
