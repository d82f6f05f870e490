"""The CAMs of one training step: every encoder pass is made once, whoever asks for its CAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fsr._modes import eval_mode
from fsr._multiscale import maps_at
from fsr._networks import eval_tokens, raw_cams
from fsr._numerics import at_least_float32
from fsr.cam import class_activation_maps, merge_flip, normalize_cam, resize_cam, sum_scales
from fsr.presets import CAMSource


class StepCAMs:
    """CAMs of the two views by :class:`fsr.presets.CAMSource`, each pass made at most once.

    Args:
        networks: the unwrapped segmenters by name, ``"student"`` and ``"teacher"``.
        views: the two views, normalised images ``(B, 3, height, width)``.

    Attributes:
        grid: patch grid ``(H, W)`` of the views.
    """

    def __init__(self, networks: Mapping[str, nn.Module], views: tuple[Tensor, Tensor]) -> None:
        self._networks = networks
        self._views = views
        self._passes: dict[tuple[Any, ...], Any] = {}
        backbone: Any = networks["student"].backbone
        self.grid: tuple[int, int] = backbone.grid(views[0])

    def keep(self, network: str, view: int, tokens: Tensor, aux_tokens: Tensor) -> None:
        """Offer the tokens ``(B, N, D)`` of a pass that the step makes anyway."""
        self._passes[network, view, "reuse"] = (tokens, aux_tokens)

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
                return self._extended(source, size)
            return self._single(source, size) if source.single else self._multi(source, size)

    def _single(self, source: CAMSource, size: tuple[int, int] | None) -> Tensor:
        """CAM of one pass: scores, resized where asked, then normalised (Eq. 2)."""
        scores = self._scores(source)
        return normalize_cam(scores if size is None else resize_cam(scores, size))

    def _extended(self, source: CAMSource, size: tuple[int, int] | None) -> Tensor:
        """CAM of a reused pass and of passes at other scales, summed, then normalised."""
        network: Any = self._networks[source.network]
        images, size = self._views[source.view - 1], size or self.grid
        patch: tuple[int, int] = network.backbone.patch_size

        def both(scaled: Tensor) -> Tensor:
            return torch.cat(raw_cams(network, scaled), dim=1)

        def make() -> list[Any]:
            with eval_mode(network):
                return [maps_at(both, [images], scale, patch, True)[0] for scale in source.extra]

        auxiliary = source.layer == "auxiliary"
        summands = [resize_cam(at_least_float32(self._scores(source)), size)]
        for pair in self._once((source.network, source.view, "extra", source.extra), make):
            wanted = (at_least_float32(maps.chunk(2, dim=1)[auxiliary]) for maps in pair)
            plain, mirrored = (resize_cam(each, size) for each in wanted)
            summands.append(merge_flip(plain, mirrored))
        return sum_scales(summands)

    def _scores(self, source: CAMSource) -> Tensor:
        """CAM of one pass at the images' size before min-max, ``(B, C, H, W)``."""
        network: Any = self._networks[source.network]
        images = self._views[source.view - 1]
        if source.reuse:
            tokens = self._passes[source.network, source.view, "reuse"]
        else:
            key = (source.network, source.view, "single")
            tokens = self._once(key, lambda: eval_tokens(network, images))
        auxiliary = source.layer == "auxiliary"
        classifier = network.aux_classifier if auxiliary else network.classifier
        return class_activation_maps(tokens[auxiliary], classifier.weight, self.grid)

    def _multi(self, source: CAMSource, size: tuple[int, int] | None) -> Tensor:
        """CAM of a multi-scale pass, at the image's size unless another is asked for."""
        network: Any = self._networks[source.network]
        images = self._views[source.view - 1]
        key = (source.network, source.view, source.scales, source.flip)
        both = self._once(key, lambda: network.cam(images, scales=source.scales, flip=source.flip))
        cam: Tensor = both[source.layer == "auxiliary"]
        return cam if size is None or size == tuple(cam.shape[2:]) else resize_cam(cam, size)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Return the pass of this key, made on first demand."""
        if key not in self._passes:
            self._passes[key] = make()
        return self._passes[key]
