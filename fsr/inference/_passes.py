"""The forwards of one batch of an evaluation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.numerics import at_least_float32
from fsr.cam import class_activation_maps, normalize_cam, resize_cam
from fsr.segmenter import Head, SingleStageSegmenter, scaled_size


class Passes:
    """The forwards of one batch: one for everything where scales allow, else one per part."""

    def __init__(
        self,
        network: SingleStageSegmenter,
        scales: tuple[float, ...],
        cam_scales: tuple[float, ...],
        flip: bool,
    ) -> None:
        self.network = network
        self.scales = scales
        self.cam_scales = cam_scales
        self.flip = flip
        self.shared = scales == (1.0,) and cam_scales == (1.0,) and not flip

    def class_logits(self, images: Tensor) -> Tensor:
        """Return class logits ``(B, C)``."""
        output = self.network(self._fit(images), outputs=("class_logits",))
        return _given(output.class_logits)

    def everything(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return class logits, both CAMs and segmentation scores, maps at the images' size."""
        size = (images.shape[2], images.shape[3])
        if not self.shared:
            cam, aux_cam = self.network.cam(images, scales=self.cam_scales, flip=self.flip)
            scores = self.network.predict(images, scales=self.scales, flip=self.flip)
            return self.class_logits(images), cam, aux_cam, scores
        heads: tuple[Head, ...] = ("class_logits", "segmentation", "tokens", "aux_tokens")
        output = self.network(self._fit(images), outputs=heads)
        cams = [
            normalize_cam(
                resize_cam(class_activation_maps(_given(tokens), head.weight, output.grid), size)
            )
            for tokens, head in (
                (output.tokens, self.network.classifier),
                (output.aux_tokens, self.network.aux_classifier),
            )
        ]
        scores = resize_cam(_given(output.segmentation), size)
        return _given(output.class_logits), cams[0], cams[1], scores

    def _fit(self, images: Tensor) -> Tensor:
        """Resize images to the nearest size that the patch divides."""
        size = (images.shape[2], images.shape[3])
        fitting = scaled_size(size, 1.0, self.network.backbone.patch_size)
        if fitting == size:
            return images
        resized = F.interpolate(
            at_least_float32(images), fitting, mode="bilinear", align_corners=False
        )
        return resized.to(images.dtype)


def _given(value: Tensor | None) -> Tensor:
    """Return a head's output that was asked for."""
    if value is None:
        raise TypeError("model: expected the heads asked for, got None")
    return value
