"""Masks that the network is sure of itself, refined along the edges of the view."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fsr._core.boxes import outside_box
from fsr._core.labels import ignore_label
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.pooling import masks_with_background
from fsr.refine import confident_masks, refine_masks


class ConfidentMasks(Part):
    """Pseudo masks of view 1 from its own segmentation, ``(B, C + 1, height, width)`` of 0 and 1.

    The segmentation's logits, whose background is constant, are detached, turned into masks,
    refined, cleared of absent classes and cut down to what one class alone is sure of. What lies
    outside the box of a padded crop is claimed by nobody.

    Args:
        refinement: refines masks along the edges of images in [0, 1], such as
            :class:`fsr.refine.PAMR`.
        top: share of a class's largest value that a pixel needs.
        background_top: the same of the background.
        lowest: what it needs at least.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> from fsr.refine import PAMR
        >>> ConfidentMasks(PAMR()).needs(0).student
        {1: ('segmentation',)}
    """

    def __init__(
        self,
        refinement: Callable[[Tensor, Tensor], Tensor],
        *,
        top: float = 0.6,
        background_top: float = 0.7,
        lowest: float = 0.2,
    ) -> None:
        super().__init__()
        self.refinement = refinement
        self.top, self.background_top, self.lowest = top, background_top, lowest

    def needs(self, number: int) -> Needs:
        """Return the segmentation."""
        return Needs(student={1: ("segmentation",)})

    def forward(self, step: Step) -> Tensor:
        """Return the masks of a step; as labels they can be seen afterwards."""
        logits = step.student("segmentation", 1).detach()
        masks = masks_with_background(logits[:, 1:])
        refined = refine_masks(self.refinement, step.image(1), masks, step.labels)
        sure = confident_masks(refined, self.top, self.background_top, self.lowest)
        box = step.given("box")
        if box is not None:
            outside = outside_box(box.to(sure.device), *sure.shape[2:])
            sure = sure.masked_fill(outside[:, None], 0.0)
        claimed = sure.amax(dim=1) > 0
        labels = sure.argmax(dim=1).masked_fill(~claimed, ignore_label(step.labels.shape[1]))
        step.seen |= {"cam": masks[:, 1:], "pseudo_labels": labels}
        step.seen["claimed"] = claimed.float().mean()
        return sure
