"""Network stages that make probabilities or label maps: images in, the same with maps out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fsr._core.labels import BYTE_CLASSES
from fsr._core.present import labels_of_classes, some_classes
from fsr.cam import cam_to_labels, ignore_label
from fsr.inference._item import Item
from fsr.inference._label_sources import LabelRecipe, present_label_probabilities
from fsr.inference._maps import labels_at, restrict_to_labels
from fsr.inference._runner import SegmenterRunner
from fsr.refine import (
    PAR,
    pseudo_labels,
    response_scaling_uncertainty,
    uncertainty_weights,
)
from fsr.segmenter import Reduction


class ProbabilityStage:
    """Gives images the probabilities of the network, within their labels where those are known.

    Args:
        runner: the network at work.
        scales: factors of the image size.
        reduce: how scales and flips are merged.
        uncertainty: whether to tell how far labels hold when scores are scaled, too.
        crf: refines between the powers of that, called as ``crf(image, probabilities)``.
        labels: whether label maps will do where the network sees an image at its own size. Of more
            classes than a byte holds they come without the probabilities.
    """

    def __init__(
        self,
        runner: SegmenterRunner,
        scales: Sequence[float],
        reduce: Reduction,
        *,
        uncertainty: bool = False,
        crf: Callable[[Any, Tensor], Tensor] | None = None,
        labels: bool = False,
    ) -> None:
        self.runner = runner
        self.scales = scales
        self.reduce = reduce
        self.uncertainty, self.crf = uncertainty, crf
        many = runner.network.num_classes > BYTE_CLASSES
        self.labels = labels and many and reduce == "max_logits" and not uncertainty

    def __call__(self, batch: Sequence[Item]) -> Iterator[Item]:
        """Yield the items of a batch with probabilities, or with label maps where these will do."""
        if self.labels and all(map(_free, batch)):
            return _with_maps(batch, partial(self.runner.labels, scales=self.scales), _labelled)
        return _with_maps(batch, self._maps, self._finished)

    def _finished(self, item: Item, probabilities: Tensor) -> Item:
        item = within_labels(item, probabilities)
        scores, pixels, crf = item.probabilities, item.pixels, self.crf
        if not self.uncertainty or scores is None or pixels is None:
            return item

        def refined(maps: Tensor) -> Tensor:
            image = pixels.permute(1, 2, 0).contiguous()
            return maps if crf is None else crf(image, maps).to(maps)

        found = response_scaling_uncertainty(scores, refine=refined)
        return item._replace(certainty=uncertainty_weights(found))

    def _maps(self, images: Sequence[Tensor]) -> Iterable[Tensor]:
        return self.runner.probabilities(images, self.scales, self.reduce)


class CamStage:
    """Gives images the label maps of their CAMs, or probabilities that stand for them.

    Args:
        runner: the network at work.
        recipe: how label maps are made.
        par: refinement of ``"cam+par"``.
        soft: whether probabilities are wanted, for a CRF.
    """

    def __init__(
        self, runner: SegmenterRunner, recipe: LabelRecipe, par: PAR, *, soft: bool
    ) -> None:
        self.runner = runner
        self.recipe = recipe
        self.par = par
        self.soft = soft

    def __call__(self, batch: Sequence[Item]) -> Iterator[Item]:
        """Yield the items of a batch with label maps or probabilities."""
        shown = [
            item.labels for item in batch if item.labels is not None and item.pixels is not None
        ]
        # No other class gets a map: only those that an image shows compete for its labels.
        classes = some_classes(torch.stack(shown).amax(dim=0)[None])[0] if shown else None
        where = next(self.runner.network.parameters()).device
        classes = None if classes is None else classes.to(where)
        maps = partial(self._maps, classes=classes)
        return _with_maps(batch, maps, partial(self._labelled, classes=classes))

    def _maps(self, images: Sequence[Tensor], classes: Tensor | None) -> Iterable[Tensor]:
        return (cam for cam, _ in self.runner.cams(images, self.recipe.cam_scales, classes))

    def _labelled(self, item: Item, cam: Tensor, classes: Tensor | None) -> Item:
        if item.pixels is None or item.labels is None or classes is None:
            raise TypeError("expected an image and its labels, got None")
        present = item.labels.to(classes.device)[classes[0]]
        places = self._places(cam, item.pixels, present)[None]
        found = labels_of_classes(places, classes, ignore_label(len(item.labels)))[0]
        if not self.soft:
            return item._replace(label_map=found)
        shared = present_label_probabilities(found, item.labels, self.recipe.certainty)
        return item._replace(probabilities=shared)

    def _places(self, cam: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
        """Label map of a CAM ``(K, h, w)`` of some classes, -1 unknown."""
        present = labels[None].to(cam.device)
        low, high = self.recipe.low, self.recipe.high
        if self.recipe.source == "cam":
            return cam_to_labels(
                cam[None],
                present,
                low=low,
                high=high,
                threshold=self.recipe.threshold,
                ignore_index=-1,
            )[0]
        image = pixels[None].to(cam.device).float() / 255
        scale = min(2, *image.shape[2:])
        return pseudo_labels(
            self.par,
            image,
            cam[None],
            present,
            low=low or 0.0,
            high=high or 0.0,
            down_scale=scale,
            ignore_index=-1,
        )[0]


def within_labels(item: Item, probabilities: Tensor) -> Item:
    """Give an item probabilities; classes that are known not to be there stay out."""
    if item.labels is not None:
        probabilities = restrict_to_labels(probabilities, item.labels)
    return item._replace(probabilities=probabilities)


def at_own_size(item: Item, confidence: float = 0.0) -> Item:
    """Give an item the label map at the size of its image.

    Args:
        item: with probabilities or a label map at the size that the network saw.
        confidence: pixels whose label is less probable become 255, where there are probabilities.
    """
    labels = item.label_map
    if item.probabilities is not None:
        labels = labels_at(item.probabilities, item.size, confidence)
    elif labels is not None and tuple(labels.shape) != item.size:
        # Nearest: nothing else invents no labels. They are exact as floating-point numbers.
        resized = torch.nn.functional.interpolate(
            labels[None, None].float(), item.size, mode="nearest-exact"
        )
        labels = resized[0, 0].long()
    return item._replace(label_map=labels)


def _free(item: Item) -> bool:
    """Tell whether an image is seen at its own size and may show any class, or was not read."""
    if item.pixels is None:
        return True
    return item.labels is None and tuple(item.pixels.shape[1:]) == item.size


def _labelled(item: Item, labels: Tensor) -> Item:
    return item._replace(label_map=labels.cpu())


def _with_maps(
    batch: Sequence[Item],
    maps_of: Callable[[Sequence[Tensor]], Iterable[Tensor]],
    finish: Callable[[Item, Tensor], Item],
) -> Iterator[Item]:
    """Yield the items of a batch with their maps; what was not read passes."""
    images = [item.pixels for item in batch if item.pixels is not None]
    maps = iter(maps_of(images) if images else ())
    for item in batch:
        if item.pixels is None:
            yield item
            continue
        one = next(maps)
        if bool((torch.isfinite(one) if one.is_floating_point() else one >= 0).all()):
            yield finish(item, one)
        else:
            yield item.refused(
                "the network gives NaN or infinity; mend its weights or leave autocast out"
            )
