"""Streaming evaluation: CAMs, segmentation and labels of a whole data set, counted not stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._checks import check_between, check_positive_int
from fsr.cam import cam_to_labels, resize_cam
from fsr.inference.loading import Prepared, PreparedDataset, SampleSource, batches, own_share
from fsr.metrics import LabelF1, LabelScores, SegmentationMetrics, SegmentationScores


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
        >>> from fsr import SingleStageSegmenter
        >>> from fsr.data.sample import Sample
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> image, target = Image.new("RGB", (40, 32)), torch.zeros(32, 40, dtype=torch.long)
        >>> result = evaluate(model, [Sample(image, torch.tensor([0.0, 1.0]), target, "grey")])
        >>> result.images, result.without_target
        (1, 0)
    """
