"""A segmenter at work on images of any size, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_floating, check_shape
from fsr._core.modes import eval_mode
from fsr._core.present import maps_of_classes
from fsr.segmenter import (
    Reduction,
    SingleStageSegmenter,
    multi_scale_cams,
    multi_scale_labels,
    multi_scale_probabilities,
    raw_cams,
)
from fsr.teacher import EMATeacher, unwrap


class SegmenterRunner:
    """Multi-scale probabilities and CAMs of lists of images that differ in size.

    Images whose sizes coincide at a scale go through the network together, each resized from its
    own size and its maps resized back to it, so every result is that of the image alone up to the
    rounding of floating-point sums. The network runs without gradient and in eval mode, which is
    put back after every call.

    Args:
        network: the segmenter.
        flip: whether mirrored images are seen too.
        autocast: type of autocast, such as ``torch.bfloat16``; None for none.

    Example:
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> network = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> images = [torch.zeros(3, 32, 40, dtype=torch.uint8), torch.zeros(3, 33, 41)]
        >>> [maps.shape for maps in SegmenterRunner(network).probabilities(images, (1.0, 1.5))]
        [torch.Size([3, 32, 40]), torch.Size([3, 33, 41])]
    """

    def __init__(
        self,
        network: SingleStageSegmenter,
        *,
        flip: bool = True,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.network = network
        self.flip = flip
        self.autocast = autocast

    def probabilities(
        self, images: Sequence[Tensor], scales: Sequence[float], reduce: Reduction = "max_logits"
    ) -> list[Tensor]:
        """Segmentation probabilities, see :meth:`fsr.SingleStageSegmenter.predict`.

        Args:
            images: RGB ``(3, height, width)`` each, uint8, or floating point between 0 and 1, of
                at least one patch; for a network of other bands, these as they are.
            scales: factors of the image size.
            reduce: how scales and flips are merged.

        Returns:
            Probabilities ``(C + 1, height, width)`` of each image, on the network's device.
        """
        _check_images(images, self.network.backbone.in_chans)
        if len(images) == 0:
            return []
        patch = self.network.backbone.patch_size
        with self._working():
            maps = multi_scale_probabilities(
                self._logits, self._normalised(images), patch, scales, self.flip, reduce
            )
        return [one[0] for one in maps]

    def labels(self, images: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
        """Most probable labels, without the probabilities of all classes.

        Args:
            images: as of :meth:`probabilities`.
            scales: factors of the image size.

        Returns:
            Labels ``(height, width)`` int64 of each image, see
            :func:`fsr.segmenter.multi_scale_labels`.
        """
        _check_images(images, self.network.backbone.in_chans)
        if len(images) == 0:
            return []
        patch = self.network.backbone.patch_size
        with self._working():
            maps = multi_scale_labels(
                self._logits, self._normalised(images), patch, scales, self.flip
            )
        return [one[0] for one in maps]

    def cams(
        self, images: Sequence[Tensor], scales: Sequence[float], classes: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Final and auxiliary CAM, see :meth:`fsr.SingleStageSegmenter.cam`.

        Args:
            images: as of :meth:`probabilities`.
            scales: factors of the image size.
            classes: the classes to return maps of, ``(K,)``; all if None.

        Returns:
            Both CAMs of each image, ``(C, height, width)`` between 0 and 1, or ``(K, ...)``.
        """
        _check_images(images, self.network.backbone.in_chans)
        if len(images) == 0:
            return []
        patch = self.network.backbone.patch_size
        with self._working():
            maps = multi_scale_cams(
                partial(self._raw, classes=classes),
                self._normalised(images),
                patch,
                scales,
                self.flip,
            )
        return [(final[0], auxiliary[0]) for final, auxiliary in maps]

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Set everything that a forward for results needs, and put it back."""
        device = next(self.network.parameters()).device.type
        autocast = nullcontext() if self.autocast is None else torch.autocast(device, self.autocast)
        with torch.no_grad(), eval_mode(self.network), autocast:
            yield

    def _normalised(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Images as batches of one, normalised, on the network's device."""
        like = next(self.network.parameters())
        backbone: Any = self.network.backbone
        mean, std = list(backbone.mean), list(backbone.std)
        batches = []
        for image in images:
            pixels = TF.to_dtype(image.to(like.device), torch.float32, scale=len(mean) == 3)
            batches.append(TF.normalize(pixels, mean, std)[None].to(like.dtype))
        return batches

    def _raw(self, images: Tensor, classes: Tensor | None) -> tuple[Tensor, ...]:
        """CAM of both layers before min-max, of some classes."""
        maps = raw_cams(self.network, images)
        if classes is None:
            return maps
        return tuple(maps_of_classes(one, classes.expand(len(one), -1)) for one in maps)

    def _logits(self, images: Tensor) -> Tensor:
        """Segmentation logits ``(B, C + 1, H, W)``."""
        output: Tensor = self.network(images, outputs=("segmentation",)).head("segmentation")
        return output


def _check_images(images: Sequence[Tensor], bands: int) -> None:
    """Raise unless each image is one, ``(bands, height, width)``, that can be read here."""
    check_sequence("images", images, "tensors")
    for index, image in enumerate(images):
        name = f"images[{index}]"
        check_shape(name, image, "channels height width", channels=bands)
        if image.is_floating_point():
            check_floating(name, image)
        if image.is_meta:
            raise ValueError(f"{name}: expected a tensor with values, got one on meta")


def check_decoder(network: SingleStageSegmenter) -> None:
    """Raise unless a network has a decoder, which predictions come from.

    Raises:
        ValueError: it has none; the message says how to come to a network that has one.
    """
    if not hasattr(network, "head_names"):
        raise TypeError(f"network: expected a segmenter, got {type(network).__name__}")
    if "segmentation" not in network.head_names:
        raise ValueError(
            "model: this network has no decoder: it gives activation maps, but no predictions; "
            "make labels of its maps (fsr export --source cam --threshold 0.3, or source='cam') "
            "and train a segmenter on them (fsr train --config segmentation data.pseudo=FOLDER)"
        )


def find_segmenter(model: nn.Module) -> SingleStageSegmenter:
    """Return the segmenter inside a teacher, ``DistributedDataParallel`` or a compiled module.

    Raises:
        TypeError: there is none.
    """
    network = unwrap(model.module if isinstance(model, EMATeacher) else model)
    if isinstance(network, EMATeacher):
        network = unwrap(network.module)
    if not isinstance(network, SingleStageSegmenter):
        raise TypeError(f"model: expected a SingleStageSegmenter, got {type(network).__name__}")
    return network
