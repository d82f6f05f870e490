"""Labels where CAM and dense CRF are both sure, made in the step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from fsr._core.labels import ignore_label
from fsr._core.modes import eval_mode
from fsr.cam import class_activation_maps, resize_cam, sum_sizes
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.presets import CAMSource
from fsr.refine import CRFPool, DenseCRF, reliable_labels
from fsr.segmenter import maps_at, raw_cams


class ReliableRegion(Part):
    """Labels of view 1's pixels, ``(B, height, width)``, int64, 255 where one of the two is unsure.

    The CAM is the mean over scales on the patch grid, up-sampled and divided by its maximum; that
    of the view's own size is read off the step's forward, the others are passes of their own
    without gradient. Two dense CRFs an image run on the CPU, inside the box of padded crops.

    Args:
        scales: image sizes of the CAM, relative to the view.
        crf: the dense CRF; by default that of the method, on the fast backend.
        workers: processes that run the CRFs; 0 runs them in this one.

    Attributes:
        source: the CAM's network, layer, view and scales. Its values are not those of
            :meth:`fsr.objective.Step.cam`, which subtracts the minimum.

    Raises:
        ImportError: the fast backend, pydensecrf, is not installed (extra ``crf``).
        ValueError: ``workers`` is below 0.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020 (zbf1991/RRM@6d4191c).

    Example:
        >>> ReliableRegion(crf=DenseCRF("rrm", backend="torch")).needs(0).student
        {1: ('tokens',)}
    """

    def __init__(
        self,
        scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
        *,
        crf: DenseCRF | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.source = CAMSource(scales=tuple(scales), flip=False)
        self.pool = CRFPool(DenseCRF("rrm") if crf is None else crf, workers)

    def needs(self, number: int) -> Needs:
        """Return the tokens that the CAM of the view's own size is read off."""
        return Needs(student={1: ("tokens",)})

    def forward(self, step: Step) -> Tensor:
        """Return the labels of a step; these, the CAM and the share of known pixels can be seen."""
        cam = self._cam(step)
        labels = reliable_labels(self.pool, step.image(1), cam, step.labels, step.given("box"))
        step.seen |= {"cam": cam, "pseudo_labels": labels}
        step.seen["reliable"] = (labels != ignore_label(step.labels.shape[1])).float().mean()
        return labels

    @torch.no_grad()
    def _cam(self, step: Step) -> Tensor:
        """Return the CAM at the size of the view, ``(B, C, height, width)``."""
        network, images = step.network, step.views[0]
        raw = partial(_final_cam, network)
        total = torch.zeros((), device=images.device)
        for scale in self.source.scales:
            if scale == 1:
                tokens = step.student("tokens", 1).detach()
                cam = class_activation_maps(tokens, network.classifier.weight, step.grid)
            else:
                with eval_mode(network):
                    patch = network.backbone.patch_size
                    cam, _ = maps_at(raw, [images], scale, patch, flip=False)[0]
            total = total + resize_cam(cam.float(), step.grid)
        mean = total / len(self.source.scales)
        return sum_sizes([mean], (images.shape[2], images.shape[3]))


def _final_cam(network: torch.nn.Module, images: Tensor) -> Tensor:
    """Return the final layer's CAM before its normalisation."""
    return raw_cams(network, images, ("final",))[0]
