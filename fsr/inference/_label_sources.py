"""Where pseudo labels come from: predictions, CAMs, or refined CAMs of images with known labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from fsr._core.checks import check_between, check_choice, check_shape
from fsr.cam import BACKGROUND, ignore_label
from fsr.refine import label_map_probabilities
from fsr.segmenter import REDUCTIONS, Reduction, check_scales

LabelKind = Literal["prediction", "cam", "cam+par"]

SOURCES: tuple[LabelKind, ...] = ("prediction", "cam", "cam+par")


@dataclass(frozen=True)
class LabelRecipe:
    """What the pseudo labels of an image are made of; :class:`LabelSource` says what is what."""

    source: LabelKind = "prediction"
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


@dataclass(frozen=True)
class LabelSource(LabelRecipe):
    """How the pseudo labels of an image are made from its image-level labels.

    Args:
        source: ``"prediction"``: most probable of the classes that the image shows, and background;
            ``"cam"``: class activation map, :func:`fsr.cam.cam_to_labels`; ``"cam+par"``: refined
            along image edges, :func:`fsr.refine.pseudo_labels`.
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

    Example:
        >>> LabelSource(source="cam", threshold=0.4).settings()["threshold"]
        0.4
    """

    def settings(self) -> dict[str, Any]:
        """Return what changes a label, as plain data."""
        return recipe_settings(self)


def recipe_settings(recipe: LabelRecipe) -> dict[str, Any]:
    """Return what changes a label, as plain data; what the source does not use is left out."""
    unused = {"prediction": ("cam_scales",)}.get(recipe.source, ("scales", "reduce"))
    values = {field.name: getattr(recipe, field.name) for field in fields(LabelRecipe)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in unused
    }


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
    few = len(shown) - 1
    compact = torch.full((ignore_label(classes) + 1,), ignore_label(few), device=labels.device)
    compact[shown] = torch.arange(len(shown), device=labels.device)
    result[shown] = label_map_probabilities(compact[labels], few, certainty)
    return result
