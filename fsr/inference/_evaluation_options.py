"""What an evaluation is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsr._core.checks import check_between, check_choice, check_positive_int
from fsr.inference._options import ON_ERROR, OnError, RunChanges, RunOptions
from fsr.segmenter import check_scales


class PseudoLabelOptions(NamedTuple):
    """How pseudo labels are made, see :func:`fsr.refine.pseudo_labels`.

    Attributes:
        refinement: ``par(images, masks) -> masks``, such as :class:`fsr.refine.PAR`.
        low: background score that weak regions fall below.
        high: background score that only confident regions exceed.

    Example:
        >>> from fsr.refine import PAR
        >>> PseudoLabelOptions(PAR(), low=0.3).high
        0.7
    """

    refinement: Any
    low: float = 0.25
    high: float = 0.7


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(RunOptions):
    """Options of :func:`fsr.inference.evaluate`, with those of :class:`RunOptions`.

    A CRF is called with the image ``(height, width, 3)`` as a uint8 array and with probabilities
    ``(C + 1, height, width)``; the ``map`` of a pool gets pairs of them.

    Args:
        image_size: size in pixels to resize images to, a number for a square; their own by
            default. Scores are always at the target's own size.
        scales: image scales of the prediction.
        cam_scales: image scales of the CAMs.
        cam_threshold: CAM scores up to this are background. Of several, the first gives the named
            scores and ``cam_sweep`` has all; choose one on other images than those you report.
        max_images: stop after so many images, the first of the data set.
        mean: mean of the image normalisation; the backbone's by default.
        std: standard deviation likewise.
        pseudo: how pseudo labels are made, to score them too.
        trimap_widths: distances to true boundaries, in pixels, within which to score predictions.
        on_error: ``"raise"`` at a sample that cannot be used or that the CRF refuses, or
            ``"skip"`` it in all scores and list it.
        state: file to keep counts in, one per process, so that the same call goes on after an
            interruption. It is removed at the end. A data set with ``files(index)``, the files of a
            sample, lets a change of them be seen.
        save_every: images between two writes of that file.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option is out of range.

    Example:
        >>> EvaluationOptions(cam_threshold=0.4).thresholds
        (0.4,)
    """

    image_size: int | tuple[int, int] | None = None
    scales: Sequence[float] = (1.0, 1.25, 1.5)
    cam_scales: Sequence[float] = (1.0, 0.5, 1.5)
    cam_threshold: float | Sequence[float] = 0.5
    max_images: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    pseudo: PseudoLabelOptions | None = None
    trimap_widths: Sequence[int] = ()
    on_error: OnError = "raise"
    state: str | Path | None = None
    save_every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scales("scales", self.scales)
        check_scales("cam_scales", self.cam_scales)
        given: Any = self.cam_threshold
        thresholds = tuple(given) if isinstance(given, Sequence) else (given,)
        if not thresholds:
            raise ValueError("cam_threshold: expected at least one number, got none")
        if len(set(thresholds)) < len(thresholds):
            raise ValueError(f"cam_threshold: expected each once, got {thresholds}")
        for threshold in thresholds:
            check_between("cam_threshold", threshold, 0.0, 1.0)
        check_positive_int("save_every", self.save_every)
        check_choice("on_error", self.on_error, ON_ERROR)
        if self.max_images is not None:
            check_positive_int("max_images", self.max_images)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All thresholds of the CAMs, the one that gives the named scores first."""
        given = self.cam_threshold
        return tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),)

    @property
    def size(self) -> tuple[int, int] | None:
        """``image_size`` as height and width."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size


class EvaluationChanges(RunChanges, total=False):
    """The fields of :class:`EvaluationOptions` as keywords."""

    image_size: int | tuple[int, int] | None
    scales: Sequence[float]
    cam_scales: Sequence[float]
    cam_threshold: float | Sequence[float]
    max_images: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    pseudo: PseudoLabelOptions | None
    trimap_widths: Sequence[int]
    on_error: OnError
    state: str | Path | None
    save_every: int
