"""Streaming evaluation: CAMs, segmentation and labels of a whole data set, counted not stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._checks import check_between, check_positive_int
from fsr._distributed import all_reduce_sum
from fsr._modes import eval_mode
from fsr._multiscale import scaled_size
from fsr._numerics import at_least_float32
from fsr.cam import cam_to_labels, class_activation_maps, normalize_cam, resize_cam
from fsr.inference.loading import Prepared, PreparedDataset, SampleSource, batches, own_share
from fsr.metrics import LabelF1, LabelScores, SegmentationMetrics, SegmentationScores
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap


class EvaluationResult(NamedTuple):
    """Scores of a model on a data set; NaN where there was nothing to score.

    Attributes:
        cam_miou: mIoU of the final layer's CAM at the (first) threshold, present classes only.
        aux_cam_miou: mIoU of the auxiliary layer's CAM likewise.
        segmentation_miou: mIoU of the decoder's prediction.
        label_f1: F1 of the predicted image-level labels, all decisions together (micro).
        cam: all scores of the final layer's CAM, per class included.
        aux_cam: all scores of the auxiliary layer's CAM.
        segmentation: all scores of the prediction.
        labels: all scores of the image-level labels.
        cam_sweep: ``(cam_miou, aux_cam_miou)`` by threshold.
        images: number of images seen, over all processes.
        without_target: how many of them had no mask; they count for ``label_f1`` only.
    """

    cam_miou: float
    aux_cam_miou: float
    segmentation_miou: float
    label_f1: float
    cam: SegmentationScores
    aux_cam: SegmentationScores
    segmentation: SegmentationScores
    labels: LabelScores
    cam_sweep: dict[float, tuple[float, float]]
    images: int
    without_target: int


def evaluate(
    model: nn.Module,
    dataset: SampleSource,
    *,
    device: torch.device | str | None = None,
    image_size: int | tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0, 1.25, 1.5),
    cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
    flip: bool = True,
    cam_threshold: float | Sequence[float] = 0.5,
    max_images: int | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Score CAMs, segmentation and image-level labels of a model, one confusion matrix each.

    Nothing but counts is kept, so memory does not grow with the data set. CAM labels use the
    image-level labels, as papers do: only present classes compete. The prediction does not.
    With ``scales=(1.0,), cam_scales=(1.0,), flip=False`` one forward gives everything.

    In several processes every one takes its share, and all return the same scores over all images;
    all of them must call this function.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`. It runs in eval mode and is left as it was found.
        dataset: indexes to :class:`fsr.data.sample.Sample`, such as a data set of :mod:`fsr.data`.
        device: where to run; the model is moved there and back. Its own device by default.
        image_size: size in pixels to resize images to, a number for a square; their own by
            default. Scores are always at the target's own size.
        scales: image scales of the prediction.
        cam_scales: image scales of the CAMs.
        flip: whether mirrored images are seen too.
        cam_threshold: CAM scores up to this are background. Of several, the first gives the named
            scores and ``cam_sweep`` has all; choose one on other images than those you report.
        max_images: stop after so many images, the first of the data set.
        batch_size: images of equal size that are seen together.
        num_workers: processes that read images.
        mean: mean of the image normalisation; the backbone's by default.
        std: standard deviation likewise.
        progress: called with (images done, images in all) of this process after every batch.

    Returns:
        The scores and the number of images.

    Raises:
        TypeError: ``model`` is no segmenter.
        ValueError: the data set is empty, an option is out of range, or a sample cannot be read or
            does not fit the model; the message names it.

    Source:
        Section "Experimental Settings".

    Example:
        >>> from PIL import Image
        >>> from fsr.segmenter import SingleStageSegmenter
        >>> from fsr.data.sample import Sample
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> image, target = Image.new("RGB", (40, 32)), torch.zeros(32, 40, dtype=torch.long)
        >>> result = evaluate(model, [Sample(image, torch.tensor([0.0, 1.0]), target, "grey")])
        >>> result.images, result.without_target
        (1, 0)
    """
    network = find_segmenter(model)
    backbone: Any = network.backbone
    thresholds = _as_thresholds(cam_threshold)
    check_positive_int("batch_size", batch_size)
    if max_images is not None:
        check_positive_int("max_images", max_images)
    total = len(dataset) if max_images is None else min(len(dataset), max_images)
    if total < 1:
        raise ValueError("dataset: expected at least one sample, got none")
    prepared = PreparedDataset(
        dataset,
        own_share(total),
        num_classes=network.num_classes,
        mean=backbone.mean if mean is None else mean,
        std=backbone.std if std is None else std,
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
    )
    passes = _Passes(network, tuple(scales), tuple(cam_scales), flip)
    home = next(network.parameters()).device
    counts = _Counts(network.num_classes, thresholds)
    done = 0
    try:
        network.to(home if device is None else device)
        where = next(network.parameters())
        counts.to(where.device)
        with torch.no_grad(), eval_mode(network):
            for samples in batches(prepared, batch_size, num_workers):
                images = torch.stack([sample.image for sample in samples]).to(where)
                counts.update(passes, images, samples)
                done += len(samples)
                if progress is not None:
                    progress(done, len(prepared))
    finally:
        network.to(home)
    return counts.result()


def find_segmenter(model: nn.Module) -> SingleStageSegmenter:
    """Return the segmenter inside a teacher, ``DistributedDataParallel`` or a compiled module."""
    network = unwrap(model.module if isinstance(model, EMATeacher) else model)
    if isinstance(network, EMATeacher):
        network = unwrap(network.module)
    if not isinstance(network, SingleStageSegmenter):
        raise TypeError(f"model: expected a SingleStageSegmenter, got {type(network).__name__}")
    return network


class _Passes:
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
        heads = ("class_logits", "segmentation", "tokens", "aux_tokens")
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


class _Counts:
    """The running counts of every score."""

    def __init__(self, num_classes: int, thresholds: tuple[float, ...]) -> None:
        self.thresholds = thresholds
        self.labels = LabelF1(num_classes)
        self.segmentation = SegmentationMetrics(num_classes)
        self.cams = {
            (layer, threshold): SegmentationMetrics(num_classes)
            for layer in ("final", "auxiliary")
            for threshold in thresholds
        }
        self.seen = torch.zeros(2, dtype=torch.int64)

    def to(self, device: torch.device) -> None:
        """Move all counts, so that processes can add them up whatever each has seen."""
        for metrics in (self.labels, self.segmentation, *self.cams.values()):
            metrics.to(device)
        self.seen = self.seen.to(device)

    def update(self, passes: _Passes, images: Tensor, samples: list[Prepared]) -> None:
        """Count one batch."""
        labels = torch.stack([sample.labels for sample in samples]).to(images.device)
        masked = [sample.target is not None for sample in samples]
        self.seen += torch.tensor([len(masked), masked.count(False)], device=images.device)
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
            prediction = resize_cam(scores[one], size).argmax(dim=1)
            try:
                self.segmentation.update(prediction, target)
            except ValueError as error:
                raise ValueError(f"dataset: sample {sample.name!r}: {error}") from error
            for (layer, threshold), metrics in self.cams.items():
                own = resize_cam((cam if layer == "final" else aux_cam)[one], size)
                metrics.update(cam_to_labels(own, labels[one], threshold=threshold), target)

    def result(self) -> EvaluationResult:
        """Add up all processes and compute the scores."""
        labels = self.labels.across_processes().compute()
        segmentation = self.segmentation.across_processes().compute()
        cams = {key: metrics.across_processes().compute() for key, metrics in self.cams.items()}
        images, without_target = all_reduce_sum(self.seen).tolist()
        cam, aux_cam = (cams[layer, self.thresholds[0]] for layer in ("final", "auxiliary"))
        return EvaluationResult(
            cam_miou=cam.miou,
            aux_cam_miou=aux_cam.miou,
            segmentation_miou=segmentation.miou,
            label_f1=labels.micro,
            cam=cam,
            aux_cam=aux_cam,
            segmentation=segmentation,
            labels=labels,
            cam_sweep={
                threshold: (cams["final", threshold].miou, cams["auxiliary", threshold].miou)
                for threshold in self.thresholds
            },
            images=images,
            without_target=without_target,
        )


def _as_thresholds(value: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several thresholds as a tuple, checked."""
    thresholds = tuple(value) if isinstance(value, Sequence) else (value,)
    if not thresholds:
        raise ValueError("cam_threshold: expected at least one number, got none")
    for threshold in thresholds:
        check_between("cam_threshold", threshold, 0.0, 1.0)
    return thresholds


def _given(value: Tensor | None) -> Tensor:
    """Return a head's output that was asked for."""
    if value is None:
        raise TypeError("model: expected the heads asked for, got None")
    return value
