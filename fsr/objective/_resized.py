"""A smaller copy of view 1 as a view of its own, and maps at the size of their view."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_between
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.segmenter import scaled_size


class ResizedView(Part):
    """View 1 resized (bilinear, aligned corners), to a size that the patch divides.

    Args:
        scale: factor of its size.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT), where any size will do.

    Example:
        >>> ResizedView(0.3).needs(0)
        Needs(student={}, teacher={}, cams=())
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        check_between("scale", scale, 0.0, float("inf"), inclusive=False)
        self.scale = scale

    def forward(self, step: Step) -> Tensor:
        """Return the images, ``(B, 3, h, w)``.

        Raises:
            ValueError: they are of less than two patches in a direction, whose maps say nothing.
        """
        images = step.views[0]
        whole, patch = (images.shape[2], images.shape[3]), step.network.backbone.patch_size
        size = scaled_size(whole, self.scale, patch)
        if any(side < 2 * cell for side, cell in zip(size, patch, strict=True)):
            raise ValueError(
                f"scale: expected a smaller view of at least two patches of {tuple(patch)} pixels "
                f"in each direction, got {size} of {whole}; take larger images, another scale or "
                "an encoder of smaller patches"
            )
        return F.interpolate(images, size, mode="bilinear", align_corners=True)


class SizedMaps(Part):
    """Maps of a head of the student at the size of their view (bilinear, aligned corners).

    Args:
        head: the head.
        view: the view, from 1.

    Example:
        >>> SizedMaps("revised", view=3).needs(0).student
        {3: ('revised',)}
    """

    def __init__(self, head: str, view: int) -> None:
        super().__init__()
        self.head, self.view = head, view

    def needs(self, number: int) -> Needs:
        """Return the head of the view."""
        return Needs(student={self.view: (self.head,)})

    def forward(self, step: Step) -> Tensor:
        """Return the maps, ``(B, C, height, width)``."""
        size = step.view(self.view).shape[2:]
        maps = step.student(self.head, self.view)
        return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=True)
