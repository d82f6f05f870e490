"""The scores of the networks on what is evaluated on, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from fsr.data import SampleSource
from fsr.inference import EvaluationResult, evaluate
from fsr.metrics import SegmentationMetrics
from fsr.train._options import Config
from fsr.train._parts import Parts
from fsr.train._pictures import image_scores


class Measured(NamedTuple):
    """Scores by network and name, and what there is of single images and pairs of classes."""

    scores: dict[str, Any]
    details: dict[str, Any]


def measure(
    parts: Parts, config: Config, dataset: Any, step: int, progress: Callable[[int, int], None]
) -> Measured:
    """Evaluate the student and, once it differs, the teacher; all processes take part.

    Args:
        parts: networks and processes.
        config: options of the run.
        dataset: what is evaluated on.
        step: completed steps.
        progress: told how many images are done, of how many.

    Returns:
        By network, the scores by name, NaN where nothing could be scored; and for ``scores.json``
        what is too long for a line of the log.
    """
    networks: dict[str, Any] = {"student": parts.modules["student"]}
    if step > 0 and parts.teacher is not None:
        networks["teacher"] = parts.teacher
    options: dict[str, Any] = {
        "image_size": config.eval.image_size,
        "scales": config.eval.scales,
        "cam_scales": config.eval.cam_scales,
        "flip": config.eval.flip,
        "cam_threshold": config.eval.cam_threshold,
        "batch_size": config.eval.batch_size,
        "num_workers": parts.loading.workers,
        "progress": progress,
    }
    results = {name: evaluate(net, dataset, **options) for name, net in networks.items()}
    names = getattr(dataset, "names", None)
    details = {
        "step": step,
        "images": list(names) if names is not None else [str(i) for i in range(len(dataset))],
        "networks": {name: _details(networks[name], result) for name, result in results.items()},
    }
    return Measured({name: _scores(result) for name, result in results.items()}, details)


def evaluation_due(config: Config, step: int) -> bool:
    """Whether networks are measured after so many completed steps; after the last one always."""
    if step == 0:
        return config.eval.at_start
    return step == config.steps or step % config.eval.every == 0


def all_background(dataset: SampleSource, num_classes: int) -> float:
    """Return the mIoU of a prediction that is background everywhere; NaN without masks."""
    metrics = SegmentationMetrics(num_classes)
    for index in range(len(dataset)):
        target = dataset[index].target
        if target is not None:
            metrics.update(torch.zeros_like(target), target)
    return metrics.compute().miou


def _details(network: Any, result: EvaluationResult) -> dict[str, Any]:
    matrix = result.confusion
    head_names = getattr(network, "module", network).head_names
    return {
        "of": "prediction" if "segmentation" in head_names else "CAM",
        "confusion": [] if matrix is None else matrix.tolist(),
        "image_iou": image_scores(result.image_iou),
        "image_certainty": image_scores(result.image_certainty),
    }


def _scores(result: EvaluationResult) -> dict[str, Any]:
    return {
        "cam_miou": result.cam_miou,
        "aux_cam_miou": result.aux_cam_miou,
        "prediction_miou": result.prediction_miou,
        "label_f1": result.label_f1,
        "pixel_accuracy": result.segmentation.pixel_accuracy,
        "cam_iou": result.cam.iou.tolist(),
        "segmentation_iou": result.segmentation.iou.tolist(),
        "images": result.images,
    }
