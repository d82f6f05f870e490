"""An evaluation as plain data and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fsr.inference._evaluation_result import EvaluationResult
from fsr.metrics import SegmentationScores

COLUMNS = {
    "cam": "CAM",
    "aux_cam": "aux. CAM",
    "pseudo_label": "pseudo",
    "segmentation": "pred.",
    "segmentation_crf": "pred.+CRF",
}


def result_to_dict(result: EvaluationResult, class_names: Sequence[str]) -> dict[str, Any]:
    """Return an evaluation as plain data for JSON; None where a score is undefined.

    Args:
        result: what :func:`fsr.inference.evaluate` returned.
        class_names: names of the C classes.
    """
    names = ("background", *class_names)
    scores = {name: _scores(getattr(result, name), names) for name in COLUMNS}
    return {
        **{name: value for name, value in scores.items() if value is not None},
        "pseudo_label_decided": _number(result.pseudo_label_decided),
        "labels": {
            "f1_micro": _number(result.labels.micro),
            "f1_macro": _number(result.labels.macro),
            "f1": _by_name(class_names, result.labels.f1.tolist()),
        },
        "cam_sweep": [
            {"threshold": threshold, "cam_miou": _number(cam), "aux_cam_miou": _number(aux)}
            for threshold, (cam, aux) in sorted(result.cam_sweep.items())
        ],
        "trimap_miou": {
            name: {str(width): _number(score) for width, score in scores.items()}
            for name, scores in result.trimap.items()
        },
        "images": result.images,
        "without_mask": result.without_target,
        "skipped": list(result.skipped),
        "data_sha256": result.data_sha256,
    }


def result_table(result: EvaluationResult, class_names: Sequence[str]) -> str:
    """Return the IoU of every class and the means as a table, in per cent.

    Args:
        result: what :func:`fsr.inference.evaluate` returned.
        class_names: names of the C classes.
    """
    shown = {name: getattr(result, name) for name in COLUMNS if getattr(result, name) is not None}
    width = max(16, *(len(name) + 2 for name in class_names))
    lines = [f"{'IoU':{width}}" + "".join(f"{COLUMNS[name]:>11}" for name in shown)]
    for index, name in enumerate(("background", *class_names)):
        cells = (_cell(scores.iou[index].item()) for scores in shown.values())
        lines.append(f"{name:{width}}" + "".join(cells))
    for title, field in (
        ("mIoU", "miou"),
        ("pixel accuracy", "pixel_accuracy"),
        ("mean accuracy", "mean_accuracy"),
    ):
        cells = (_cell(getattr(scores, field)) for scores in shown.values())
        lines.append(f"{title:{width}}" + "".join(cells))
    lines.append(f"label F1 {_percent(result.label_f1)}, {result.images} images")
    if result.pseudo_label is not None and not math.isnan(result.pseudo_label_decided):
        lines.append(f"pseudo labels decide {result.pseudo_label_decided:.1%} of the pixels")
    if len(result.cam_sweep) > 1:
        lines += _best_thresholds(result.cam_sweep)
    for name, bands in result.trimap.items():
        widths = sorted(bands)
        chosen = [w for w in widths if w in (1, 3, 5, 10, 20)] or widths
        listed = ", ".join(f"{w} px {_percent(bands[w])}" for w in chosen)
        lines.append(f"{COLUMNS[name]} near boundaries: {listed}")
    if result.without_target:
        lines.append(f"{result.without_target} images have no mask and count for the labels only")
    if result.skipped:
        lines.append(
            f"WARNING: {len(result.skipped)} samples could not be used and are NOT in these scores"
        )
    return "\n".join(lines)


def _scores(scores: SegmentationScores | None, names: Sequence[str]) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {
        "miou": _number(scores.miou),
        "pixel_accuracy": _number(scores.pixel_accuracy),
        "mean_accuracy": _number(scores.mean_accuracy),
        "iou": _by_name(names, scores.iou.tolist()),
    }


def _by_name(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return f"{_percent(value):>11}"


def _percent(value: float) -> str:
    """Spell a share in per cent; a dash stands for what is not defined."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _best_thresholds(sweep: Mapping[float, tuple[float, float]]) -> list[str]:
    """Say at which threshold each map scores best; nothing where there is no score."""
    lines = []
    for layer, title in enumerate(("CAM", "auxiliary CAM")):
        scores = {t: both[layer] for t, both in sweep.items() if not math.isnan(both[layer])}
        if scores:
            best = max(scores, key=scores.__getitem__)
            lines.append(f"best {title} threshold {best:g}: mIoU {_percent(scores[best])}")
    return lines
