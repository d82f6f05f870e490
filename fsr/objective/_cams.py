"""The CAMs of one training step: every encoder pass is made once, whoever asks for its CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.modes import eval_mode
from fsr._core.numerics import at_least_float32
from fsr.cam import Layer, class_activation_maps, normalize_cam, resize_cam
from fsr.presets import CAMSource
from fsr.segmenter import maps_at, multi_scale_cams, raw_cams


class StepCAMs:
    """CAMs of the two views by :class:`fsr.presets.CAMSource`, each pass made at most once.

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
        self._made: dict[tuple[Any, ...], dict[str, Any]] = {}
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

    def get(self, source: CAMSource, size: tuple[int, int] | None = None) -> Tensor:
        """Return the normalised CAM of a source, without gradient (Eq. 2).

        Args:
            source: where it comes from.
            size: size to return; by default as it comes, which is the patch grid for one pass at
                the image's own size and the image's size for a multi-scale pass.

        Returns:
            CAM between 0 and 1, ``(B, C, *size)``.
        """
        with torch.no_grad():
            if source.extra:
                return self._extended(source, size or self.grid)
            return self._single(source, size) if source.single else self._multi(source, size)

    def _single(self, source: CAMSource, size: tuple[int, int] | None) -> Tensor:
        """CAM of one pass: scores, resized where asked, then normalised (Eq. 2)."""
        scores = self._scores(source)
        return normalize_cam(scores if size is None else resize_cam(scores, size))

    def _extended(self, source: CAMSource, size: tuple[int, int]) -> Tensor:
        """CAM of a reused pass and of passes at other scales, summed, then normalised."""
        total = resize_cam(at_least_float32(self._scores(source)), size)
        for plain, mirrored in self._own(source):
            # As large as the image, for every class: no map is held longer than needed.
            merged = resize_cam(at_least_float32(plain), size)
            other = resize_cam(at_least_float32(mirrored.flip(-1)), size)
            total += torch.maximum(merged, other, out=merged)
            del merged, other
        return normalize_cam(total)

    def _multi(self, source: CAMSource, size: tuple[int, int] | None) -> Tensor:
        """CAM of a multi-scale pass, at the image's size unless another is asked for."""
        cam: Tensor = self._own(source)
        return cam if size is None or size == tuple(cam.shape[2:]) else resize_cam(cam, size)

    def _scores(self, source: CAMSource) -> Tensor:
        """CAM of one pass at the images' size before min-max, ``(B, C, H, W)``."""
        if not source.reuse:
            scores: Tensor = self._own(source)
            return scores
        network: Any = self._networks[source.network]
        tokens = self._kept[source.network, source.view, source.head]
        final = source.layer == "final"
        classifier = network.classifier if final else network.aux_classifier
        return class_activation_maps(tokens, classifier.weight, self.grid)

    def _own(self, source: CAMSource) -> Any:
        """Return what passes of its own give a source; they are made on first demand.

        At one scale and without flips that is the CAM before min-max, at several the finished CAM,
        and at extra scales a pair of CAMs before min-max for each, the second still mirrored.
        """
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


def _run(source: CAMSource, network: Any, layers: Sequence[Layer], images: Tensor) -> Sequence[Any]:
    """Make a source's own passes and return what they give for each layer."""
    raw, patch = partial(raw_cams, network, layers=layers), network.backbone.patch_size
    if source.single:
        return raw(images)
    if not source.extra:
        return multi_scale_cams(raw, [images], patch, source.scales, source.flip)[0]
    scales = []
    for scale in source.extra:
        pair: Any = maps_at(lambda x: torch.cat(raw(x), dim=1), [images], scale, patch, True)[0]
        plain, mirrored = (maps.chunk(len(layers), dim=1) for maps in pair)
        scales.append(list(zip(plain, mirrored, strict=True)))
    return list(zip(*scales, strict=True))
