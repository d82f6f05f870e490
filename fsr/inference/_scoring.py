"""The running counts of every score of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fsr._core.distributed import all_reduce_sum
from fsr.cam import IGNORE, resize_cam, strongest_class
from fsr.inference._loading import Prepared
from fsr.inference._passes import Passes
from fsr.metrics import LabelF1, SegmentationMetrics, ThresholdSweep, TrimapMetrics
from fsr.refine import pseudo_labels


class PseudoLabelOptions(NamedTuple):
    """How pseudo labels are made, see :func:`fsr.refine._pseudo_labels`.

    Attributes:
        refinement: ``par(images, masks) -> masks``, such as :class:`fsr.refine.PAR`.
        low: background score that weak regions fall below.
        high: background score that only confident regions exceed.
    """

    refinement: Any
    low: float = 0.25
    high: float = 0.7


class Work(NamedTuple):
    """A prediction that a dense CRF is to refine.

    Attributes:
        pixels: RGB ``(height, width, 3)`` uint8.
        probabilities: ``(C + 1, height, width)``.
        target: true labels ``(height, width)``.
    """

    pixels: Tensor
    probabilities: Tensor
    target: Tensor


class Scoring:
    """Counts of all scores; what each image adds is an integer, so order and share do not matter.

    Args:
        num_classes: number of foreground classes C.
        thresholds: thresholds of the CAMs.
        widths: widths of the bands of the trimap, empty for none.
        pseudo: how pseudo labels are made, None for none.
        crf: whether refined predictions are scored too.
        total: number of images, over all processes.
        mean: mean of the image normalisation, to undo it.
        std: standard deviation likewise.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        thresholds: Sequence[float],
        widths: Sequence[int],
        pseudo: PseudoLabelOptions | None,
        crf: bool,
        total: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.pseudo = pseudo
        self.mean, self.std = (torch.tensor(tuple(v)).view(3, 1, 1) for v in (mean, std))
        self.labels = LabelF1(num_classes)
        self.segmentation = SegmentationMetrics(num_classes)
        self.sweeps = {
            layer: ThresholdSweep(num_classes, thresholds) for layer in ("final", "auxiliary")
        }
        self.extra: dict[str, SegmentationMetrics] = {}
        if pseudo is not None:
            self.extra["pseudo_label"] = SegmentationMetrics(num_classes)
        if crf:
            self.extra["segmentation_crf"] = SegmentationMetrics(num_classes)
        self.trimaps: dict[str, TrimapMetrics] = {}
        if widths:
            names = ["segmentation", *(["segmentation_crf"] if crf else [])]
            self.trimaps = {name: TrimapMetrics(num_classes, widths) for name in names}
        # Images, images without a mask, pixels with a pseudo label, pixels that count.
        self.seen = torch.zeros(4, dtype=torch.int64)
        self.skipped = torch.zeros(total, dtype=torch.int64)

    def metrics(self) -> dict[str, Any]:
        """Return all metrics by name."""
        return {
            "labels": self.labels,
            "segmentation": self.segmentation,
            **{f"cam.{layer}": sweep for layer, sweep in self.sweeps.items()},
            **self.extra,
            **{f"trimap.{name}": trimap for name, trimap in self.trimaps.items()},
        }

    def to(self, device: torch.device) -> None:
        """Move all counts, so that processes can add them up whatever each has seen."""
        for metric in self.metrics().values():
            metric.to(device)
        self.seen, self.skipped = self.seen.to(device), self.skipped.to(device)

    def state(self) -> dict[str, Tensor]:
        """Return all counts by name."""
        counts = {name: metric.counts for name, metric in self.metrics().items()}
        return {**counts, "seen": self.seen, "skipped": self.skipped}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from counts that :meth:`state` gave."""
        for name, metric in self.metrics().items():
            metric.counts = state[name].to(metric.counts.device)
        self.seen = state["seen"].to(self.seen.device)
        self.skipped = state["skipped"].to(self.skipped.device)

    def update(self, passes: Passes, images: Tensor, samples: list[Prepared]) -> Iterator[Work]:
        """Count one batch; what a CRF is to refine is yielded, image by image."""
        labels = torch.stack([sample.labels for sample in samples]).to(images.device)
        masked = [sample.target is not None for sample in samples]
        seen = [len(masked), masked.count(False), 0, 0]
        self.seen += torch.tensor(seen, device=images.device)
        if not any(masked):
            self.labels.update(passes.class_logits(images), labels)
            return
        logits, cam, aux_cam, scores = passes.everything(images)
        self.labels.update(logits, labels)
        for index, sample in enumerate(samples):
            if sample.target is None:
                continue
            target, one = sample.target.to(images.device)[None], slice(index, index + 1)
            size = (target.shape[1], target.shape[2])
            maps = resize_cam(scores[one], size)
            self._count("segmentation", maps.argmax(dim=1), target, sample)
            for layer, part in (("final", cam), ("auxiliary", aux_cam)):
                score, best = strongest_class(resize_cam(part[one], size), labels[one])
                self.sweeps[layer].update(score, best, target)
            if self.pseudo is not None:
                self._pseudo_label(images[one], cam[one], labels[one], target, sample)
            if "segmentation_crf" in self.extra and sample.pixels is not None:
                # Without several scales the network's scores are not probabilities yet.
                ready = maps.softmax(dim=1) if passes.shared else maps
                yield Work(sample.pixels, ready[0], target)

    def refined(self, probabilities: Tensor, target: Tensor) -> None:
        """Count a prediction that a CRF has refined."""
        prediction = probabilities.argmax(dim=0)[None].to(target.device)
        self._count("segmentation_crf", prediction, target, None)

    def result(self) -> dict[str, Any]:
        """Add up all processes and return everything computed."""
        summed = {name: metric.across_processes() for name, metric in self.metrics().items()}
        images, without, decided, counted = all_reduce_sum(self.seen).tolist()
        skipped = all_reduce_sum(self.skipped).nonzero().flatten().tolist()
        return {
            "metrics": summed,
            "images": images,
            "without_target": without,
            "decided": decided / counted if counted else float("nan"),
            "skipped": tuple(skipped),
        }

    def _count(
        self, name: str, prediction: Tensor, target: Tensor, sample: Prepared | None
    ) -> None:
        metric = self.segmentation if name == "segmentation" else self.extra[name]
        try:
            metric.update(prediction, target)
        except ValueError as error:
            where = "" if sample is None else f"sample {sample.name!r}: "
            raise ValueError(f"dataset: {where}{error}") from error
        if name in self.trimaps:
            self.trimaps[name].update(prediction, target)

    def _pseudo_label(
        self, images: Tensor, cam: Tensor, labels: Tensor, target: Tensor, sample: Prepared
    ) -> None:
        """Count the pseudo label where it is decided, and how much of the image that is."""
        if self.pseudo is None:
            return
        mean, std = self.mean.to(images), self.std.to(images)
        made = pseudo_labels(
            self.pseudo.refinement,
            (images * std + mean).clamp(0, 1),
            cam,
            labels,
            low=self.pseudo.low,
            high=self.pseudo.high,
        )
        made = torch.nn.functional.interpolate(made[None].float(), target.shape[1:])[0].long()
        unknown, counted = made == IGNORE, target != IGNORE
        self.seen[2] += (counted & ~unknown).sum()
        self.seen[3] += counted.sum()
        judged = target.masked_fill(unknown, IGNORE)
        self._count("pseudo_label", made.masked_fill(unknown, 0), judged, sample)
