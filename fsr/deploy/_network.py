"""What is put into a file: images in, probabilities and CAMs out, at one scale."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.arguments import check_module, check_sequence
from fsr._core.checks import check_choice
from fsr.cam import normalize_cam, resize_cam
from fsr.segmenter import SingleStageSegmenter, cam_head, cam_of

OUTPUTS = ("probabilities", "cam")


class DeployedSegmenter(nn.Module):
    """A segmenter's maps at the images' size, as they are put into a file.

    One scale and no mirrored images: of :meth:`fsr.SingleStageSegmenter.predict` and ``cam`` what
    ``scales=(1.0,), flip=False`` gives.

    Args:
        model: the segmenter; a copy on the CPU, in float32 and in eval mode is kept.
        outputs: any of ``"probabilities"`` ``(B, C + 1, height, width)`` and ``"cam"`` ``(B, C,
            height, width)``, the final CAM between 0 and 1, in this order. None: the first, of
            networks without a decoder the second.

    Raises:
        TypeError: ``model`` is no segmenter, or ``outputs`` no list.
        ValueError: there is no such output, or the network has no decoder for it.

    Example:
        >>> import torch
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> maps = DeployedSegmenter(model, OUTPUTS)(torch.zeros(1, 3, 24, 32))
        >>> [tuple(each.shape) for each in maps]
        [(1, 3, 24, 32), (1, 2, 24, 32)]
    """

    def __init__(self, model: SingleStageSegmenter, outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        check_module("model", model, SingleStageSegmenter)
        decodes = "segmentation" in model.head_names
        if outputs is None:
            outputs = OUTPUTS[:1] if decodes else OUTPUTS[1:]
        check_sequence("outputs", outputs, "names")
        for name in outputs:
            check_choice("outputs", name, OUTPUTS)
        if not outputs:
            raise ValueError("outputs: expected at least one name, got none")
        if "probabilities" in outputs and not decodes:
            raise ValueError(
                "outputs: expected 'cam' alone, as the network was built without a decoder"
            )
        self.outputs = tuple(name for name in OUTPUTS if name in outputs)
        self.network = copy.deepcopy(model).cpu().float().eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            images: ``(B, 3, height, width)``, normalised, a size that the patch divides.

        Returns:
            The maps that ``outputs`` names.
        """
        size = (images.shape[2], images.shape[3])
        network: Any = self.network
        head = cam_head(network, "final")
        wanted = {"probabilities": "segmentation", "cam": head}
        heads = tuple(dict.fromkeys(wanted[name] for name in self.outputs))
        output = network(images, outputs=heads)
        found = []
        if "probabilities" in self.outputs:
            logits = output.head("segmentation")
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
            found.append(logits.softmax(dim=1))
        if "cam" in self.outputs:
            cam = cam_of(network, output.head(head), "final", output.grid)
            found.append(normalize_cam(resize_cam(cam, size)))
        return tuple(found)
