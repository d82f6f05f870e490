"""Classification of images by their surest patches, and small weights of the patch classifier."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fsr._core.numerics import at_least_float32
from fsr.losses import patch_score_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step
from fsr.pooling import patch_max
from fsr.segmenter import SingleStageSegmenter


class PatchMaxClassification(Term):
    """Binary cross entropy of each class's surest patch, the background's among them.

    The background is taken to be in every image.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> PatchMaxClassification().needs(0).student
        {1: ('segmentation',)}
    """

    name = "classification"

    def needs(self, number: int) -> Needs:
        """Return the patches' logits of view 1."""
        return Needs(student={1: ("segmentation",)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        scores = patch_max(step.student("segmentation", 1))
        return patch_score_loss(scores, F.pad(step.labels, (1, 0), value=1))


class ClassifierPenalty(Term):
    """Sum of squares of the patch classifier's weights.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> ClassifierPenalty().needs(0).views
        frozenset()
    """

    name = "penalty"

    def check(self, network: SingleStageSegmenter) -> None:
        """Raise unless the segmentation is a head with a classifier."""
        if not hasattr(dict(network.heads.items()).get("segmentation"), "classifier"):
            raise ValueError(
                f"student: the term {self.name!r} reads the classifier of a head 'segmentation' "
                "of kind 'patch_classifier'; build the network with heads=ViTPCM().heads()"
            )

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        head: Any = step.network.heads["segmentation"]
        weight: Tensor = head.classifier.weight
        return at_least_float32(weight).square().sum()
