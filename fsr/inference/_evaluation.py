"""Streaming evaluation: every map of a whole data set in one pass, counted not stored."""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fsr._core.checks import check_between, check_choice, check_positive_int
from fsr._core.modes import eval_mode
from fsr.inference._evaluation_state import EvaluationState
from fsr.inference._loading import (
    PreparedDataset,
    SampleSource,
    Unreadable,
    batches,
    own_share,
)
from fsr.inference._passes import Passes
from fsr.inference._provenance import describe, weights_hash
from fsr.inference._scoring import PseudoLabelOptions, Scoring, Work
from fsr.metrics import LabelScores, SegmentationScores
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap

_log = logging.getLogger(__name__)


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

    @property
    def segmentation_miou(self) -> float:
        """The old name of ``prediction_miou``; it goes with the next release."""
        warnings.warn("segmentation_miou: read prediction_miou", DeprecationWarning, stacklevel=2)
        return self.prediction_miou


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
    crf: Any = None,
    pseudo: PseudoLabelOptions | None = None,
    trimap_widths: Sequence[int] = (),
    on_error: str = "raise",
    autocast: torch.dtype | None = None,
    state: str | Path | None = None,
    save_every: int = 50,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Score CAMs, pseudo labels, segmentation and image-level labels, in one pass over the data.

    Nothing but counts is kept, one confusion matrix each, so memory does not grow with the data
    set. CAM labels use the image-level labels, as papers do: only present classes compete. The
    prediction does not. With ``scales=(1.0,), cam_scales=(1.0,), flip=False`` one forward gives
    everything.

    In several processes every one takes its share, and all return the same scores over all images;
    all of them must call this function.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`. It runs in eval mode and is left as it was found.
        dataset: indexes to :class:`fsr.data.Sample`, such as a data set of :mod:`fsr.data`.
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
        crf: refines the prediction, such as :class:`fsr.refine.DenseCRF`, called with the image
            ``(height, width, 3)`` uint8 and probabilities; or an object with ``map``, such as
            :class:`fsr.refine.CRFPool`, which works while the network goes on.
        pseudo: how pseudo labels are made, to score them too.
        trimap_widths: distances to true boundaries, in pixels, within which to score predictions.
        on_error: ``"raise"`` at a sample that cannot be used, or ``"skip"`` and list it.
        autocast: type of autocast, such as ``torch.bfloat16``; None for none.
        state: file to keep counts in, one per process, so that the same call goes on after an
            interruption. It is removed at the end.
        save_every: images between two writes of that file.
        progress: called with (images done, images in all) of this process after every batch.

    Returns:
        The scores and the number of images.

    Raises:
        TypeError: ``model`` is no segmenter.
        ValueError: the data set is empty, an option is out of range, a sample cannot be read or
            does not fit the model (the message names it), or the file ``state`` belongs to another
            evaluation.

    Source:
        Section "Experimental Settings".

    Example:
        >>> from PIL import Image
        >>> from fsr.segmenter import SingleStageSegmenter
        >>> from fsr.data import Sample
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
    check_positive_int("save_every", save_every)
    check_choice("on_error", on_error, ("raise", "skip"))
    if max_images is not None:
        check_positive_int("max_images", max_images)
    total = len(dataset) if max_images is None else min(len(dataset), max_images)
    if total < 1:
        raise ValueError("dataset: expected at least one sample, got none")
    mean = backbone.mean if mean is None else mean
    std = backbone.std if std is None else std
    share = own_share(total)
    scoring = Scoring(
        network.num_classes,
        thresholds=thresholds,
        widths=trimap_widths,
        pseudo=pseudo,
        crf=crf is not None,
        total=total,
        mean=mean,
        std=std,
    )
    passes = Passes(network, tuple(scales), tuple(cam_scales), flip)
    kept = None
    if state is not None:
        # All that changes a count; how images are batched and read does not.
        settings = {
            "weights": weights_hash(network),
            "data": [describe(dataset), list(getattr(dataset, "names", ())), total],
            "sizes": [image_size, passes.scales, passes.cam_scales, flip],
            "scores": [thresholds, list(trimap_widths), _spelled_crf(crf), _spelled(pseudo)],
            "pixels": [list(mean), list(std), str(autocast), on_error],
        }
        kept = EvaluationState(Path(state), settings)
    home = next(network.parameters()).device
    done = 0
    try:
        network.to(home if device is None else device)
        where = next(network.parameters())
        scoring.to(where.device)
        if kept is not None:
            done = kept.load(scoring)
        cast = nullcontext() if autocast is None else torch.autocast(where.device.type, autocast)
        while done < len(share):
            part = share[done : len(share) if kept is None else done + save_every]
            prepared = PreparedDataset(
                dataset,
                part,
                num_classes=network.num_classes,
                mean=mean,
                std=std,
                image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
                keep_pixels=crf is not None,
                skip_errors=on_error == "skip",
            )

            def told(count: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + count, len(share))

            with torch.no_grad(), eval_mode(network), cast:
                reading = batches(prepared, batch_size, num_workers)
                _count_all(scoring, passes, reading, crf, where, told)
            done += len(part)
            if kept is not None:
                kept.save(scoring, done)
    finally:
        network.to(home)
    result = _result(scoring, thresholds)
    if kept is not None:
        kept.remove()
    return result


def _count_all(
    scoring: Scoring,
    passes: Passes,
    reading: Iterable[Any],
    crf: Any,
    like: Tensor,
    told: Callable[[int], None],
) -> None:
    """Count all batches; a CRF gets its images as a stream, so that it may work meanwhile."""
    targets: deque[Tensor] = deque()
    done = 0

    def works() -> Iterator[Work]:
        nonlocal done
        for batch in reading:
            if isinstance(batch, Unreadable):
                _log.warning("skipped: %s", batch.error)
                scoring.skipped[batch.position] = 1
                done += 1
            else:
                images = torch.stack([sample.image for sample in batch]).to(like)
                yield from scoring.update(passes, images, batch)
                done += len(batch)
            told(done)

    def pairs() -> Iterator[tuple[Any, Tensor]]:
        for work in works():
            targets.append(work.target)
            yield work.pixels.numpy(), work.probabilities

    many = getattr(crf, "map", None)
    refined = many(pairs()) if many is not None else (crf(*pair) for pair in pairs())
    for probabilities in refined:
        scoring.refined(probabilities, targets.popleft())


def _result(scoring: Scoring, thresholds: tuple[float, ...]) -> EvaluationResult:
    """Add up all processes and compute the scores."""
    summed = scoring.result()
    metrics = summed["metrics"]
    final, auxiliary = metrics["cam.final"], metrics["cam.auxiliary"]
    cam, aux_cam = final.compute(thresholds[0]), auxiliary.compute(thresholds[0])
    segmentation, labels = metrics["segmentation"].compute(), metrics["labels"].compute()
    by_threshold, aux_by_threshold = final.miou(), auxiliary.miou()
    extra = {name: metrics[name].compute() for name in scoring.extra}
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
    )


def _spelled_crf(crf: Any) -> str:
    """Spell a CRF; how many processes run it changes no count."""
    return describe(getattr(crf, "crf", crf))


def _spelled(pseudo: PseudoLabelOptions | None) -> Any:
    return None if pseudo is None else [describe(pseudo.refinement), pseudo.low, pseudo.high]


def find_segmenter(model: nn.Module) -> SingleStageSegmenter:
    """Return the segmenter inside a teacher, ``DistributedDataParallel`` or a compiled module."""
    network = unwrap(model.module if isinstance(model, EMATeacher) else model)
    if isinstance(network, EMATeacher):
        network = unwrap(network.module)
    if not isinstance(network, SingleStageSegmenter):
        raise TypeError(f"model: expected a SingleStageSegmenter, got {type(network).__name__}")
    return network


def _as_thresholds(value: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several thresholds as a tuple, checked."""
    thresholds = tuple(value) if isinstance(value, Sequence) else (value,)
    if not thresholds:
        raise ValueError("cam_threshold: expected at least one number, got none")
    if len(set(thresholds)) < len(thresholds):
        raise ValueError(f"cam_threshold: expected each once, got {thresholds}")
    for threshold in thresholds:
        check_between("cam_threshold", threshold, 0.0, 1.0)
    return tuple(float(threshold) for threshold in thresholds)
