"""The CAMs of one training step: every encoder pass is made once, whoever asks for its CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fsr._core.modes import eval_mode
from fsr._core.numerics import at_least_float32
from fsr._core.present import maps_of_classes
from fsr.cam import Layer, class_activation_maps, normalize_cam, resize_cam
from fsr.objective._seen import Later
from fsr.presets import CAMSource
from fsr.segmenter import maps_at, merged_cam, raw_cams

# The CAM of a pass before min-max, at the size of its patch grid, and that of the mirror images,
# still mirrored; by scale.
Raw = list[tuple[Tensor, Tensor | None]]


class PresentCAM(NamedTuple):
    """The CAM of the classes that the images show: about as many maps as one image shows, K.

    Attributes:
        cam: normalised CAM, ``(B, K, H, W)``, 0 to 1.
        labels: 1 where an entry is a class of the image and 0 where it only fills, ``(B, K)``.
        classes: which class each map is of, ``(B, K)`` int64.
    """

    cam: Tensor
    labels: Tensor
    classes: Tensor


class StepCAMs:
    """CAMs of the two views by :class:`fsr.presets.CAMSource`, each pass made at most once.

    What is kept is on patch grids. Maps of the size of an image are made of the classes that are
    asked for, which of a thousand are those that an image shows.

    Args:
        networks: the unwrapped segmenters by name, ``"student"`` and ``"teacher"``.
        views: the views, normalised images ``(B, 3, height, width)`` each.
        sources: what will be asked for; a pass computes the layers that these read of it.

    Attributes:
        grid: patch grid ``(H, W)`` of the views.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        views: Sequence[Tensor],
        sources: Sequence[CAMSource] = (),
    ) -> None:
        self._networks = networks
        self._views = views
        self._sources = sources
        self._kept: dict[tuple[str, int, str], Tensor] = {}
        self._made: dict[tuple[Any, ...], dict[str, Raw]] = {}
        backbone: Any = networks["student"].backbone
        self.grid: tuple[int, int] = backbone.grid(views[0])

    def keep(self, network: str, view: int, head: str, value: Tensor) -> None:
        """Offer a head of a pass that the step makes anyway; only tokens ``(B, N, D)`` matter."""
        self._kept[network, view, head] = value

    def make_ahead(self) -> None:
        """Make the sources' own passes now, while no training pass holds memory."""
        for source in self._sources:
            if source.extra or not source.reuse:
                self._own(source)

    def get(
        self,
        source: CAMSource,
        size: tuple[int, int] | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """Return the normalised CAM of a source, without gradient (Eq. 2).

        Args:
            source: where it comes from.
            size: size to return; by default as it comes, which is the patch grid for one pass at
                the image's own size and the image's size for a multi-scale pass.
            classes: the classes of each image to return, ``(B, K)``; all if None.

        Returns:
            CAM between 0 and 1, ``(B, C, *size)`` or ``(B, K, *size)``.
        """
        with torch.no_grad():
            raw = self._raw(source)
            if classes is not None:
                raw = [
                    (
                        maps_of_classes(plain, classes),
                        None if mirrored is None else maps_of_classes(mirrored, classes),
                    )
                    for plain, mirrored in raw
                ]
            return _finished(source, raw, size, self.grid, self._size(source))

    def later(self, source: CAMSource, size: tuple[int, int]) -> Later:
        """Return the CAM of all classes as something that is made when somebody looks at it.

        It is of the networks as they are now.
        """
        raw = self._raw(source)
        make = partial(_finished, source, raw, size, self.grid, self._size(source))
        return Later(make, (*raw[0][0].shape[:2], *size))

    def _size(self, source: CAMSource) -> tuple[int, int]:
        """Return the size of the images of a source."""
        height, width = self._views[source.view - 1].shape[2:]
        return height, width

    def _raw(self, source: CAMSource) -> Raw:
        """Return the CAM of all passes of a source before min-max, of all classes."""
        with torch.no_grad():
            reused: Raw = [(self._scores(source), None)] if source.reuse else []
            own = self._own(source) if source.extra or not source.reuse else []
            return reused + own

    def _scores(self, source: CAMSource) -> Tensor:
        """CAM of a pass that the step makes anyway, ``(B, C, H, W)``, made at most once."""
        key = (source.network, source.view, source.head)
        if source.layer not in self._made.setdefault(key, {}):
            network: Any = self._networks[source.network]
            final = source.layer == "final"
            classifier = network.classifier if final else network.aux_classifier
            scores = class_activation_maps(self._kept[key], classifier.weight, self.grid)
            self._made[key][source.layer] = [(scores, None)]
        return self._made[key][source.layer][0][0]

    def _own(self, source: CAMSource) -> Raw:
        """Return what passes of its own give a source; they are made on first demand."""
        key = _pass(source)
        if source.layer not in self._made.get(key, ()):
            sharing = [source, *(other for other in self._sources if _pass(other) == key)]
            layers = tuple(sorted({each.layer for each in sharing}))
            network = self._networks[source.network]
            with torch.no_grad(), eval_mode(network):
                made = _run(source, network, layers, self._views[source.view - 1])
            self._made[key] = dict(zip(layers, made, strict=True))
        return self._made[key][source.layer]


def _pass(source: CAMSource) -> tuple[Any, ...]:
    """Return what tells the passes of a source from others; both layers come from the same."""
    return (source.network, source.view, source.scales, source.flip, source.extra)


def _run(source: CAMSource, network: Any, layers: Sequence[Layer], images: Tensor) -> Sequence[Raw]:
    """Make a source's own passes and return what they give for each layer."""
    raw, patch = partial(raw_cams, network, layers=layers), network.backbone.patch_size
    if source.single:
        return [[(scores, None)] for scores in raw(images)]
    flip = source.flip or bool(source.extra)
    every: list[Raw] = [[] for _ in layers]
    for scale in source.extra or source.scales:
        pair = maps_at(lambda x: torch.cat(raw(x), dim=1), [images], scale, patch, flip)[0]
        parts = [(None,) * len(layers) if m is None else m.chunk(len(layers), 1) for m in pair]
        for kept, plain, mirrored in zip(every, *parts, strict=True):
            kept.append((plain, mirrored))
    return every


def _finished(
    source: CAMSource,
    raw: Raw,
    size: tuple[int, int] | None,
    grid: tuple[int, int],
    image: tuple[int, int],
) -> Tensor:
    """Return the normalised CAM of a source from what its passes gave, whatever the classes."""
    with torch.no_grad():
        if source.extra:
            return _extended(raw, size or grid)
        if source.single:
            # Scores, resized where asked, then normalised (Eq. 2).
            scores = raw[0][0]
            return normalize_cam(scores if size is None else resize_cam(scores, size))
        cam = merged_cam(raw, image)
        return cam if size is None or size == image else resize_cam(cam, size)


def _extended(raw: Raw, size: tuple[int, int]) -> Tensor:
    """CAM of a reused pass and of passes at other scales, summed, then normalised."""
    total = resize_cam(at_least_float32(raw[0][0]), size)
    for plain, mirrored in raw[1:]:
        # As large as the image: no map is held longer than needed.
        merged = resize_cam(at_least_float32(plain), size)
        if mirrored is not None:
            other = resize_cam(at_least_float32(mirrored.flip(-1)), size)
            merged = torch.maximum(merged, other, out=merged)
        total.add_(merged)
    return normalize_cam(total)
