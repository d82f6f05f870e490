"""What an evaluation returns."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from torch import Tensor

from fsr._core.labels import BYTE_CLASSES
from fsr.inference._image_scores import column
from fsr.inference._provenance import fingerprint
from fsr.inference._scoring import Scoring
from fsr.metrics import LabelScores, SegmentationMetrics, SegmentationScores, ThresholdSweep


class EvaluationResult(NamedTuple):
    """Scores of a model on a data set; NaN where there was nothing to score.

    Attributes:
        cam_miou: mIoU of the final layer's CAM at the (first) threshold, present classes only.
        aux_cam_miou: mIoU of the auxiliary layer's CAM likewise.
        prediction_miou: mIoU of the decoder's prediction.
        label_f1: F1 of the predicted image-level labels, all decisions together (micro).
        cam: all scores of the final layer's CAM, per class included.
        aux_cam: all scores of the auxiliary layer's CAM.
        segmentation: all scores of the prediction.
        labels: all scores of the image-level labels.
        cam_sweep: ``(cam_miou, aux_cam_miou)`` by threshold.
        images: number of images seen, over all processes.
        without_target: how many of them had no mask; they count for ``label_f1`` only.
        segmentation_crf: scores of the prediction after the dense CRF; None without one.
        pseudo_label: scores of the pseudo label on the pixels that it decides; None unless asked
            for. Papers differ in what they quote: this one says nothing of undecided pixels.
        pseudo_label_decided: share of the pixels with a true label that it decides.
        trimap: mIoU by distance to the nearest true boundary in pixels, for ``"segmentation"`` and
            ``"segmentation_crf"``; empty unless asked for.
        skipped: indices of samples that could not be used and do not count; only with
            ``on_error="skip"``.
        failed: what went wrong, one message per skipped sample, which names it.
        data_sha256: digest of the images, labels and masks that were scored, as they were read:
            another one means other data.
        confusion: pixels by true and predicted label, ``(C + 1, C + 1)``; of the CAM for a network
            without a decoder, and None if that has more than 254 classes.
        image_iou: per image the mean IoU over the classes in its truth, ``(images,)`` by index, of
            the same map; NaN without a mask. Their mean is no mIoU.
        image_certainty: per image how far the most doubtful of its label decisions is from even
            chances, 0 to 1.
    """

    cam_miou: float
    aux_cam_miou: float
    prediction_miou: float
    label_f1: float
    cam: SegmentationScores
    aux_cam: SegmentationScores
    segmentation: SegmentationScores
    labels: LabelScores
    cam_sweep: dict[float, tuple[float, float]]
    images: int
    without_target: int
    segmentation_crf: SegmentationScores | None = None
    pseudo_label: SegmentationScores | None = None
    pseudo_label_decided: float = float("nan")
    trimap: dict[str, dict[int, float]] = {}  # noqa: RUF012  # never changed in place
    skipped: tuple[int, ...] = ()
    failed: tuple[str, ...] = ()
    data_sha256: str = ""
    confusion: Tensor | None = None
    image_iou: Tensor | None = None
    image_certainty: Tensor | None = None

    @property
    def segmentation_miou(self) -> float:
        """The old name of ``prediction_miou``; it goes with the next release."""
        warnings.warn("segmentation_miou: read prediction_miou", DeprecationWarning, stacklevel=2)
        return self.prediction_miou


def result_of(scoring: Scoring, thresholds: tuple[float, ...]) -> EvaluationResult:
    """Add up all processes and compute the scores."""
    summed = scoring.result()
    metrics = summed["metrics"]
    final, auxiliary = metrics["cam.final"], metrics["cam.auxiliary"]
    cam, aux_cam = final.compute(thresholds[0]), auxiliary.compute(thresholds[0])
    segmentation, labels = metrics["segmentation"].compute(), metrics["labels"].compute()
    by_threshold, aux_by_threshold = final.miou(), auxiliary.miou()
    extra = {name: metrics[name].compute() for name in scoring.extra}
    decoded = bool(metrics["segmentation"].counts.any())
    return EvaluationResult(
        cam_miou=cam.miou,
        aux_cam_miou=aux_cam.miou,
        prediction_miou=segmentation.miou,
        label_f1=labels.micro,
        cam=cam,
        aux_cam=aux_cam,
        segmentation=segmentation,
        labels=labels,
        cam_sweep={t: (by_threshold[t], aux_by_threshold[t]) for t in thresholds},
        images=summed["images"],
        without_target=summed["without_target"],
        segmentation_crf=extra.get("segmentation_crf"),
        pseudo_label=extra.get("pseudo_label"),
        pseudo_label_decided=summed["decided"],
        trimap={name: metrics[f"trimap.{name}"].compute() for name in scoring.trimaps},
        skipped=summed["skipped"],
        failed=summed["failed"],
        data_sha256=fingerprint(summed["content"]),
        confusion=_confusion(metrics["segmentation"] if decoded else final, thresholds[0]),
        image_iou=column(summed["each"], "iou"),
        image_certainty=column(summed["each"], "certainty"),
    )


def _confusion(metric: SegmentationMetrics | ThresholdSweep, threshold: float) -> Tensor | None:
    """Return the matrix of the map that is shown, where there is one."""
    if isinstance(metric, SegmentationMetrics):
        return metric.counts.cpu()
    many = metric.num_classes > BYTE_CLASSES
    return None if many else metric.confusion(threshold).cpu()
