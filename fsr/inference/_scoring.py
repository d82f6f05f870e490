"""The running counts of every score of an evaluation."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import torch
from torch import Tensor

from fsr._core.distributed import all_reduce_sum, gather_objects
from fsr.inference._evaluation_options import EvaluationOptions
from fsr.inference._image_scores import ImageScores
from fsr.inference._item import Item
from fsr.metrics import LabelF1, SegmentationMetrics, ThresholdSweep, TrimapMetrics

WORDS = 8


def digest_words(text: str) -> Tensor:
    """Return the SHA-256 of a text as numbers of 32 bits that add up in 64, whatever the order.

    Example:
        >>> digest_words("a").shape, bool((digest_words("a") == digest_words("b")).any())
        (torch.Size([8]), False)
    """
    return torch.tensor(struct.unpack(f">{WORDS}I", hashlib.sha256(text.encode()).digest()))


class Scoring:
    """Counts of all scores; what each image adds is an integer, so order and share do not matter.

    Args:
        num_classes: number of foreground classes C.
        options: what is scored: thresholds, widths, pseudo labels, refined predictions.
        total: number of images, over all processes.
    """

    def __init__(self, num_classes: int, options: EvaluationOptions, total: int) -> None:
        self.labels = LabelF1(num_classes)
        self.segmentation = SegmentationMetrics(num_classes)
        self.sweeps = {
            layer: ThresholdSweep(num_classes, options.thresholds)
            for layer in ("final", "auxiliary")
        }
        self.extra: dict[str, SegmentationMetrics] = {}
        if options.pseudo is not None:
            self.extra["pseudo_label"] = SegmentationMetrics(num_classes)
        if options.crf is not None:
            self.extra["segmentation_crf"] = SegmentationMetrics(num_classes)
        self.trimaps: dict[str, TrimapMetrics] = {}
        if options.trimap_widths:
            names = ["segmentation", *(["segmentation_crf"] if options.crf is not None else [])]
            self.trimaps = {
                name: TrimapMetrics(num_classes, options.trimap_widths) for name in names
            }
        # Images, images without a mask, pixels with a pseudo label, pixels that count.
        self.seen = torch.zeros(4, dtype=torch.int64)
        self.skipped = torch.zeros(total, dtype=torch.int64)
        self.images = ImageScores(total, num_classes, options.thresholds)
        # The sum of what the images were, word by word: it tells other data from the same.
        self.content = torch.zeros(WORDS, dtype=torch.int64)
        # Why, by index, of this process's share.
        self.failed: dict[int, str] = {}

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
        self.content = self.content.to(device)
        self.images.values = self.images.values.to(device)

    def state(self) -> dict[str, Tensor]:
        """Return all counts by name."""
        counts = {name: metric.counts for name, metric in self.metrics().items()}
        own = {"seen": self.seen, "skipped": self.skipped, "content": self.content}
        return {**counts, **own, "images": self.images.values}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from counts that :meth:`state` gave."""
        for name, metric in self.metrics().items():
            metric.counts = state[name].to(metric.counts.device)
        self.seen = state["seen"].to(self.seen.device)
        self.skipped = state["skipped"].to(self.skipped.device)
        self.content = state["content"].to(self.content.device)
        if "images" in state:  # counts that an earlier version kept have none
            self.images.values = state["images"].to(self.images.values.device)

    def count(self, item: Item) -> None:
        """Count one image, all its scores at once."""
        scores = item.scores
        if scores is None or item.labels is None:
            raise TypeError(f"{item.where}: expected labels and scores, got None")
        where = scores.logits.device
        self.seen += torch.tensor([1, int(item.target is None), 0, 0], device=where)
        if item.made is not None:
            self.content += digest_words(item.made.digest).to(where)
        self.labels.update(scores.logits, item.labels[None].to(where))
        self.images.certainty(item.number, scores.logits)
        if item.target is None:
            return
        target = item.target.to(where)[None]
        shown = "cam.final" if scores.prediction is None else "segmentation"
        metric = self.metrics()[shown]
        before = metric.counts.to(where)
        if scores.prediction is not None:
            self._count("segmentation", scores.prediction, target)
        for layer, (score, best) in scores.cams.items():
            self.sweeps[layer].update(score, best, target)
        if scores.pseudo_label is not None:
            self._pseudo_label(scores.pseudo_label, target)
        if item.probabilities is not None:
            self._count("segmentation_crf", item.probabilities.argmax(dim=0)[None], target)
        # What one image adds is its own confusion matrix: nothing is counted twice.
        self.images.iou(item.number, metric.counts - before)

    def skip(self, item: Item) -> None:
        """Leave an image out of all scores, and note why."""
        self.skipped[item.number] = 1
        self.failed[item.number] = item.error or ""

    def result(self) -> dict[str, Any]:
        """Add up all processes and return everything computed."""
        summed = {name: metric.across_processes() for name, metric in self.metrics().items()}
        images, without, decided, counted = all_reduce_sum(self.seen).tolist()
        skipped = all_reduce_sum(self.skipped).nonzero().flatten().tolist()
        reasons: dict[int, str] = {}
        # Only then, so that a group that cannot gather objects is not asked to.
        if skipped:
            for part in gather_objects(self.failed):
                reasons |= part
        return {
            "metrics": summed,
            "each": all_reduce_sum(self.images.values).cpu(),
            "content": all_reduce_sum(self.content).tolist(),
            "images": images,
            "without_target": without,
            "decided": decided / counted if counted else float("nan"),
            "skipped": tuple(skipped),
            # Counts that an earlier version kept tell no reason.
            "failed": tuple(
                reasons.get(index, f"dataset: sample {index} cannot be used") for index in skipped
            ),
        }

    def _count(self, name: str, prediction: Tensor, target: Tensor) -> None:
        metric = self.segmentation if name == "segmentation" else self.extra[name]
        prediction = prediction.to(target.device)
        metric.update(prediction, target)
        if name in self.trimaps:
            self.trimaps[name].update(prediction, target)

    def _pseudo_label(self, made: Tensor, target: Tensor) -> None:
        """Count the pseudo label where it is decided, and how much of the image that is."""
        ignored = self.segmentation.ignore_index
        unknown, counted = made == ignored, target != ignored
        self.seen[2] += (counted & ~unknown).sum()
        self.seen[3] += counted.sum()
        self._count(
            "pseudo_label", made.masked_fill(unknown, 0), target.masked_fill(unknown, ignored)
        )
