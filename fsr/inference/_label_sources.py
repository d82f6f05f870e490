"""Where pseudo labels come from: predictions, CAMs, or refined CAMs of images with known labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fsr._core.checks import check_between, check_choice, check_shape
from fsr.cam import BACKGROUND, IGNORE, cam_to_labels
from fsr.inference._maps import (
    CRF,
    Mapped,
    labels_at,
    refined,
    restrict_to_labels,
)
from fsr.inference._runner import SegmenterRunner
from fsr.refine import PAR, label_map_probabilities, pseudo_labels
from fsr.segmenter import REDUCTIONS, Reduction, check_scales

SOURCES = ("prediction", "cam", "cam+par")


@dataclass(frozen=True)
class LabelSource:
    """How the pseudo labels of an image are made from its image-level labels.

    Args:
        source: ``"prediction"``: most probable of the classes that the image shows, and background;
            ``"cam"``: class activation map, :func:`fsr.cam.cam_to_labels`; ``"cam+par"``: refined
            along image edges, :func:`fsr.refine._pseudo_labels`.
        confidence: probability below which a pixel becomes 255; None for no cut. For predictions,
            and for whatever went through a CRF.
        low: CAM scores of at most this are background; needs ``high``.
        high: CAM scores above this take their class, those in between become 255.
        threshold: one border between background and classes instead, for ``"cam"``.
        scales: image scales of the prediction.
        cam_scales: image scales of the CAM.
        reduce: how scales and flips of the prediction are merged.
        certainty: probability, above a half, of a CAM's label for the CRF; the other classes of the
            image share the rest, and 255 leaves them all equal.

    Raises:
        TypeError: a number is none.
        ValueError: there is no such source, an option is out of range, or it does not belong to
            the source.
    """

    source: str = "prediction"
    confidence: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    scales: Sequence[float] = (1.0, 1.25, 1.5)
    cam_scales: Sequence[float] = (1.0, 0.5, 1.5)
    reduce: Reduction = "max_logits"
    certainty: float = 0.7

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)
        check_choice("reduce", self.reduce, REDUCTIONS)
        check_scales("scales", self.scales)
        check_scales("cam_scales", self.cam_scales)
        check_between("certainty", self.certainty, 0.5, 1.0, inclusive=False)
        if self.confidence is not None:
            check_between("confidence", self.confidence, 0.0, 1.0)
        borders = {"low": self.low, "high": self.high, "threshold": self.threshold}
        given = {name for name, value in borders.items() if value is not None}
        allowed = {
            "prediction": [set[str]()],
            "cam": [{"low", "high"}, {"threshold"}],
            "cam+par": [{"low", "high"}],
        }[self.source]
        if given not in allowed:
            wanted = " or ".join(" and ".join(sorted(names)) or "none" for names in allowed)
            raise ValueError(
                f"low, high, threshold: source {self.source!r} needs {wanted}, "
                f"got {', '.join(sorted(given)) or 'none'}"
            )
        for name in given:
            check_between(name, borders[name] or 0.0, 0.0, 1.0)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low: expected less than high={self.high}, got {self.low}")

    def settings(self) -> dict[str, Any]:
        """Return what changes a label, as plain data."""
        unused = {"prediction": ("cam_scales",)}.get(self.source, ("scales", "reduce"))
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in unused
        }

    def label_maps(
        self,
        runner: SegmenterRunner,
        batches: Iterable[list[Mapped]],
        labels_of: Callable[[int], Tensor],
        par: PAR,
        crf: CRF | None,
    ) -> Iterator[Mapped]:
        """Yield every image with its label map at its own size, in order.

        Args:
            runner: the network at work.
            batches: images that were read; those with an error pass through.
            labels_of: multi-hot labels ``(C,)`` of an image by its number.
            par: refinement of ``"cam+par"``.
            crf: dense CRF or None.
        """
        items = self._maps(runner, batches, labels_of, par, soft=crf is not None)
        for item in items if crf is None else refined(items, crf, labels_of):
            labels = item.labels
            if item.probabilities is not None:
                labels = labels_at(item.probabilities, item.size, self.confidence or 0.0)
            elif labels is not None:
                labels = _nearest(labels, item.size)
            yield item._replace(image=None, probabilities=None, labels=labels)

    def _maps(
        self,
        runner: SegmenterRunner,
        batches: Iterable[list[Mapped]],
        labels_of: Callable[[int], Tensor],
        par: PAR,
        *,
        soft: bool,
    ) -> Iterator[Mapped]:
        """Yield images with probabilities or label maps at the size that the network saw."""
        for batch in batches:
            images = [item.image for item in batch if item.image is not None]
            if not images:
                yield from batch
                continue
            if self.source == "prediction":
                maps = iter(runner.probabilities(images, self.scales, self.reduce))
            else:
                maps = (cam for cam, _ in runner.cams(images, self.cam_scales))
            for item in batch:
                if item.image is None:
                    yield item
                    continue
                one, labels = next(maps), labels_of(item.number)
                if not bool(torch.isfinite(one).all()):
                    error = "the network gives NaN or infinity"
                    yield item._replace(image=None, error=error)
                elif self.source == "prediction":
                    yield item._replace(probabilities=restrict_to_labels(one, labels))
                else:
                    found = self._cam_labels(one, item.image, labels, par)
                    if soft:
                        shared = present_label_probabilities(found, labels, self.certainty)
                        yield item._replace(probabilities=shared)
                    else:
                        yield item._replace(labels=found)

    def _cam_labels(self, cam: Tensor, image: Tensor, labels: Tensor, par: PAR) -> Tensor:
        """Label map of a CAM ``(C, h, w)``."""
        present = labels[None].to(cam.device)
        if self.source == "cam":
            return cam_to_labels(
                cam[None], present, low=self.low, high=self.high, threshold=self.threshold
            )[0]
        pixels = image[None].to(cam.device).float() / 255
        scale = min(2, *pixels.shape[2:])
        return pseudo_labels(
            par,
            pixels,
            cam[None],
            present,
            low=self.low or 0.0,
            high=self.high or 0.0,
            down_scale=scale,
        )[0]


def present_label_probabilities(labels: Tensor, present: Tensor, certainty: float) -> Tensor:
    """Probabilities that stand for a label map, shared among background and the classes present.

    Args:
        labels: ``(height, width)`` int64: 0 background, c + 1 class c, 255 unknown.
        present: multi-hot image-level labels ``(C,)``.
        certainty: see :func:`fsr.refine.label_map_probabilities`.

    Returns:
        ``(C + 1, height, width)``; 0 for classes that are not there.

    Raises:
        ShapeError: a shape is wrong.

    Example:
        >>> present = torch.tensor([0.0, 1.0])
        >>> present_label_probabilities(torch.tensor([[0, 2, 255]]), present, 0.75)[:, 0]
        tensor([[0.7500, 0.2500, 0.5000],
                [0.0000, 0.0000, 0.0000],
                [0.2500, 0.7500, 0.5000]])
    """
    check_shape("labels", labels, "height width")
    (classes,) = check_shape("present", present, "C")
    shown = [BACKGROUND, *((present > 0).nonzero()[:, 0] + 1).tolist()]
    result = torch.zeros(classes + 1, *labels.shape, device=labels.device)
    if len(shown) == 1:
        result[BACKGROUND] = 1.0
        return result
    compact = torch.full((256,), IGNORE, device=labels.device)
    compact[shown] = torch.arange(len(shown), device=labels.device)
    result[shown] = label_map_probabilities(compact[labels], len(shown) - 1, certainty)
    return result


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a label map without inventing labels."""
    if tuple(labels.shape) == size:
        return labels
    resized = torch.nn.functional.interpolate(
        labels[None, None].to(torch.uint8), size, mode="nearest-exact"
    )
    return resized[0, 0].long()
