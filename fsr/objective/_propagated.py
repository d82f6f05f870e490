"""Labels of pixels from CAMs that are spread along the affinity of patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fsr._core.modes import eval_mode
from fsr.affinity import propagate_with_background, radius_mask
from fsr.cam import resize_cam
from fsr.objective._labels import PixelLabels
from fsr.objective._step import Step
from fsr.presets import CAMSource
from fsr.refine import labels_between, refine_in_box
from fsr.segmenter import SingleStageSegmenter, maps_at


class PropagatedLabels(PixelLabels):
    """Pseudo labels of a view's pixels, from scores that like patches share.

    The CAM, once with a low and once with a high score of the background, is spread along the
    affinity of patches, up-sampled, and refined inside the box of the real pixels. The affinity is
    that of the student on the enlarged view, in evaluation mode and without gradient: a pass of its
    own, of the image alone.

    Args:
        source: CAM that they are made from, of the student; its view is the labelled one.
        refinement: refines masks along the edges of images in [0, 1], such as
            :class:`fsr.refine.PAR`.
        low: lower score of the background.
        high: higher score of the background.
        radius: scores are spread between patches at most this far apart.
        scale: size of the image from which the affinity is read, relative to the view.
        head: name of the affinity among the network's heads.

    Raises:
        ValueError: the network has no such head.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> from fsr.refine import PAR
        >>> PropagatedLabels(CAMSource(), PAR(), low=0.35, high=0.55).needs(0).cams[0].describe()
        'student, final layer, view 1, own pass at 1/0.5/1.5 with flips'
    """

    def __init__(
        self,
        source: CAMSource,
        refinement: Callable[[Tensor, Tensor], Tensor],
        *,
        low: float = 0.35,
        high: float = 0.55,
        radius: int = 8,
        scale: float = 1.5,
        head: str = "affinity",
    ) -> None:
        super().__init__(source, low=low, high=high, refinement=refinement)
        self.radius, self.scale, self.head = radius, scale, head

    def check(self, network: SingleStageSegmenter) -> None:
        """Raise unless the network has the affinity."""
        if self.head not in network.heads:
            raise ValueError(
                f"student: expected a head {self.head!r} of kind 'attention_affinity', to spread "
                f"labels along; the network has {', '.join(network.head_names)}"
            )

    def forward(self, step: Step) -> Tensor:
        """Return the labels of a step; they and the CAM can be seen afterwards."""
        images = step.image(self.source.view)
        size = (images.shape[2], images.shape[3])
        affinity, grid = self._affinity(step)
        cam, near = (
            step.cam(self.source, grid),
            radius_mask(grid, self.radius, device=images.device),
        )
        box = step.given("box") if self.source.view == 1 else None
        refined = []
        for background in (self.low, self.high):
            spread = propagate_with_background(cam, affinity, step.labels, background, mask=near)
            maps = resize_cam(spread, size)
            refined.append(refine_in_box(self.refinement, images, maps, step.labels, box))
        labels = labels_between(refined[0], refined[1], box)
        step.seen |= {"cam": step.cam(self.source, size), "pseudo_labels": labels}
        return labels

    def _affinity(self, step: Step) -> tuple[Tensor, tuple[int, int]]:
        """Return the affinity of the enlarged view's patches, ``(B, N, N)``, and their grid."""
        grids: list[tuple[int, int]] = []
        network: Any = step.network

        def read(images: Tensor) -> Tensor:
            output = network(images, outputs=(self.head,))
            grids.append(output.grid)
            affinity: Tensor = output.head(self.head)
            return affinity

        views = [step.view(self.source.view)]
        with torch.no_grad(), eval_mode(network):
            patch = network.backbone.patch_size
            ((affinity, _),) = maps_at(read, views, self.scale, patch, False)
        return affinity, grids[0]
