"""A segmentation against masks that it is sure of itself."""

from __future__ import annotations

from torch import Tensor

from fsr.losses import self_supervised_mask_loss
from fsr.objective._confident_masks import ConfidentMasks
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class SelfSupervisedMask(Term):
    """Cross entropy of the segmentation with confident masks of its own, mean over images.

    Args:
        masks: the masks.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> from fsr.refine import PAMR
        >>> SelfSupervisedMask(ConfidentMasks(PAMR())).needs(0).student
        {1: ('segmentation',)}
    """

    name = "self_supervised_mask"

    def __init__(self, masks: ConfidentMasks) -> None:
        super().__init__()
        self.masks = masks

    def needs(self, number: int) -> Needs:
        """Return the segmentation."""
        return Needs(student={1: ("segmentation",)}) | self.masks.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        masks = step.get(self.masks)
        logits = step.student("segmentation", 1)
        step.seen["segmentation_logits"] = logits.detach()
        return self_supervised_mask_loss(logits[:, 1:], masks, step.labels).mean()
