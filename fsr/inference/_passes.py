"""The network stage of an evaluation: the forwards of one batch, and all that is scored of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating
from fsr._core.labels import BYTE_CLASSES, ignore_label
from fsr._core.modes import eval_mode
from fsr._core.numerics import at_least_float32
from fsr._core.present import labels_of_classes, maps_of_classes, some_classes
from fsr.cam import (
    LAYERS,
    normalize_cam,
    resize_cam,
    strongest_class,
)
from fsr.inference._evaluation_options import EvaluationOptions
from fsr.inference._item import Item, Scores, of_one_size
from fsr.refine import pseudo_labels
from fsr.segmenter import (
    SingleStageSegmenter,
    cam_head,
    cam_of,
    multi_scale_cams,
    multi_scale_labels,
    raw_cams,
    scaled_size,
)


class ScoringStage:
    """Gives samples what an evaluation counts, and a prediction for the CRF if there is one.

    Args:
        network: the network.
        options: what is scored.
        mean: mean of the image normalisation, to undo it for pseudo labels.
        std: standard deviation likewise.
    """

    def __init__(
        self,
        network: SingleStageSegmenter,
        options: EvaluationOptions,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        scales, cam_scales = tuple(options.scales), tuple(options.cam_scales)
        self.passes = Passes(network, scales, cam_scales, options.flip)
        # Of many classes the scores themselves are made only where something else reads them.
        many = network.num_classes > BYTE_CLASSES
        self.labels = many and options.crf is None and options.size is None
        self.options = options
        self.mean, self.std = (torch.tensor(tuple(v)).view(3, 1, 1) for v in (mean, std))

    def __call__(self, batch: Sequence[Item]) -> Iterator[Item]:
        """Yield the items of a batch; those that were read have scores."""
        yield from (item for item in batch if item.image is None)
        network = self.passes.network
        for items in of_one_size(batch):
            like = next(network.parameters())
            images = torch.stack([item.image for item in items if item.image is not None]).to(like)
            if all(item.target is None for item in items):
                with torch.no_grad(), eval_mode(network), self._cast(like.device):
                    logits = self.passes.class_logits(images)
                for index, item in enumerate(items):
                    yield item._replace(image=None, scores=Scores(logits[index : index + 1]))
                continue
            # Only classes that an image shows compete for its CAM labels: no others get a map.
            labels = torch.stack([_labels_of(item, network.num_classes) for item in items])
            classes, there = some_classes(labels.to(images))
            with torch.no_grad(), eval_mode(network), self._cast(like.device):
                maps = self.passes.everything(images, classes, labels=self.labels)
            for index, item in enumerate(items):
                alone: Any = tuple(
                    None if one is None else one[index : index + 1]
                    for one in (images, classes, there.to(images), *maps)
                )
                # Not around the yield: whoever takes the item may do anything.
                with torch.no_grad(), self._cast(like.device):
                    scored = self._scored(item, *alone)
                yield scored

    def _cast(self, device: torch.device) -> AbstractContextManager[None]:
        if self.options.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self.options.autocast)

    def _scored(
        self,
        item: Item,
        image: Tensor,
        classes: Tensor,
        labels: Tensor,
        logits: Tensor,
        cam: Tensor,
        aux_cam: Tensor,
        maps: Tensor | None,
    ) -> Item:
        """Bring the maps of one image to the size of its target."""
        if item.target is None or item.labels is None:
            return item._replace(image=None, scores=Scores(logits))
        size = (item.target.shape[0], item.target.shape[1])
        prediction = maps
        if maps is not None and not self.labels:
            maps = maps if tuple(maps.shape[2:]) == size else resize_cam(maps, size)
            check_floating("segmentation", maps)
            prediction = maps.argmax(dim=1)
        scores = Scores(
            logits,
            prediction,
            {
                layer: _named(strongest_class(resize_cam(one, size), labels), classes)
                for layer, one in (("final", cam), ("auxiliary", aux_cam))
            },
            self._pseudo_label(image, cam, labels, size, classes),
        )
        ready = None
        if self.options.crf is not None and maps is not None:
            # Without several scales the network's scores are not probabilities yet.
            ready = (maps.softmax(dim=1) if self.passes.shared else maps)[0]
        return item._replace(image=None, scores=scores, probabilities=ready)

    def _pseudo_label(
        self,
        image: Tensor,
        cam: Tensor,
        labels: Tensor,
        size: tuple[int, int],
        classes: Tensor,
    ) -> Tensor | None:
        """Pseudo label ``(1, height, width)`` at the target's size, None unless asked for."""
        pseudo = self.options.pseudo
        if pseudo is None:
            return None
        mean, std = self.mean.to(image), self.std.to(image)
        pixels = (image * std + mean).clamp(0, 1)
        places = pseudo_labels(
            pseudo.refinement,
            pixels,
            cam,
            labels,
            low=pseudo.low,
            high=pseudo.high,
            ignore_index=-1,
        )
        made = labels_of_classes(places, classes, ignore_label(self.passes.network.num_classes))
        return F.interpolate(made[None].float(), size)[0].long()


def _labels_of(item: Item, classes: int) -> Tensor:
    """Return the image-level labels of an item; none where they are not known."""
    return torch.zeros(classes) if item.labels is None else item.labels.float()


def _named(found: tuple[Tensor, Tensor], classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores and labels of the strongest of some classes, by what these are."""
    score, places = found
    return score, labels_of_classes(places, classes)


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
        return output.head("class_logits")

    def everything(
        self, images: Tensor, classes: Tensor, *, labels: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return class logits, both CAMs and segmentation scores, maps at the images' size.

        Args:
            images: ``(B, 3, height, width)``.
            classes: those of each image that CAMs are made of, ``(B, K)``.
            labels: return the most probable labels ``(B, height, width)`` in the scores' place.

        Returns:
            The last is None of a network without a decoder.
        """
        size = (images.shape[2], images.shape[3])
        if not self.shared:
            cam, aux_cam = self._cams(images, classes)
            scores = None
            if "segmentation" in self.network.head_names:
                scores = (
                    self._labels(images)
                    if labels
                    else self.network.predict(images, scales=self.scales, flip=self.flip)
                )
            return self.class_logits(images), cam, aux_cam, scores
        layers = {layer: cam_head(self.network, layer) for layer in LAYERS}
        decodes = "segmentation" in self.network.head_names
        wanted: Any = {"class_logits", *(["segmentation"] if decodes else []), *layers.values()}
        output = self.network(self._fit(images), outputs=sorted(wanted))
        cams = [
            normalize_cam(resize_cam(maps_of_classes(one, classes), size))
            for one in (
                cam_of(self.network, output.head(head), layer, output.grid)
                for layer, head in layers.items()
            )
        ]
        scores = None
        if decodes and labels:
            scores = self._labels(images, output.head("segmentation"))
        elif decodes:
            scores = resize_cam(output.head("segmentation"), size)
        return output.head("class_logits"), cams[0], cams[1], scores

    def _labels(self, images: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the most probable labels, merged over scales and flips; of logits if known."""

        def logits_of(scaled: Tensor) -> Tensor:
            logits = known
            if logits is None:
                logits = self.network(scaled, outputs=("segmentation",)).head("segmentation")
            check_floating("segmentation", logits)
            return logits

        patch = self.network.backbone.patch_size
        return multi_scale_labels(logits_of, [images], patch, self.scales, self.flip)[0]

    def _cams(self, images: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        """Return both CAMs of some classes, merged over scales and flips."""
        patch = self.network.backbone.patch_size

        def raw(scaled: Tensor) -> tuple[Tensor, ...]:
            # Mirror images lie behind the others, of the same classes.
            own = classes if len(scaled) == len(classes) else torch.cat([classes, classes])
            return tuple(maps_of_classes(one, own) for one in raw_cams(self.network, scaled))

        return multi_scale_cams(raw, [images], patch, self.cam_scales, self.flip)[0]

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
