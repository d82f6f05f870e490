"""What a preset of FSR may hold: its terms, its phases, and ranges of every field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsr._core.checks import check_between, check_choice, check_positive_int
from fsr.aggregation import MASKINGS
from fsr.losses import TARGET_FORMS
from fsr.masking import STRATEGIES, THRESHOLDS
from fsr.presets._beyond_checks import check_beyond
from fsr.presets._cam_source import CAMSource

if TYPE_CHECKING:
    from fsr.presets._preset import Preset

LOSS_TERMS = (
    "classification",
    "auxiliary",
    "affinity",
    "segmentation",
    "energy",
    "uncertain",
    "confident",
)

# Fields that are fractions of the run.
PHASES = (
    "random_mask_until",
    "segmentation_from",
    "affinity_from",
    "teacher_temperature_warmup",
    "learning_rate_warmup",
)

# The strategies of fsr.masking.UncertainMasker that read the CAM.
CAM_STRATEGIES = ("uncertain", "strict")


def check_preset(preset: Preset) -> None:
    """Raise unless every field of a preset is in its range and fits the others.

    Raises:
        TypeError: a field has another type.
        ValueError: a field is out of range, or two do not go together.
    """
    check_positive_int("total_steps", preset.total_steps)
    for name in PHASES:
        check_between(name, getattr(preset, name), 0.0, 1.0)
    for term in LOSS_TERMS:
        name = f"{term}_weight"
        check_between(name, getattr(preset, name), 0.0, float("inf"))
    check_between("uncertain_boundary_weight", preset.uncertain_boundary_weight, 0.0, float("inf"))
    for name in ("momentum", "final_momentum", "drop_path_rate"):
        check_between(name, getattr(preset, name), 0.0, 1.0)
    if not isinstance(preset.refine_labels, bool):
        raise TypeError(
            f"refine_labels: expected True or False, got {type(preset.refine_labels).__name__}"
        )
    check_choice("mask_strategy", preset.mask_strategy, STRATEGIES)
    check_choice("mask_thresholds", preset.mask_thresholds, THRESHOLDS)
    check_between("mask_ratio", preset.mask_ratio, 0.0, 1.0, inclusive=False)
    if preset.mask_ratio_start is not None:
        check_between("mask_ratio_start", preset.mask_ratio_start, 0.0, 1.0, inclusive=False)
    if preset.mask_strategy == "entropy" and not (
        preset.uncertain_weight or preset.confident_weight
    ):
        raise ValueError(
            "mask_strategy: 'entropy' reads projections of the teacher, which are made for "
            "self-reinforcement only: expected uncertain_weight or confident_weight above 0, "
            "got 0 for both"
        )
    check_choice("target", preset.target, TARGET_FORMS)
    temperature = preset.target_temperature
    check_between("target_temperature", temperature, 0.0, float("inf"), inclusive=False)
    check_between("scale_momentum", preset.scale_momentum, 0.0, 1.0)
    if preset.scale_momentum == 1:
        raise ValueError(
            "scale_momentum: expected less than 1, at which no spread is ever taken in"
        )
    if preset.masking is not None:
        check_choice("masking", preset.masking, MASKINGS)
    for low, high in (("mask_low", "mask_high"), ("pseudo_low", "pseudo_high")):
        if not getattr(preset, low) < getattr(preset, high):
            raise ValueError(
                f"{low}: expected less than {high}={getattr(preset, high)}, "
                f"got {getattr(preset, low)}"
            )
    for name, view in (("mask_cam", 2), ("segmentation_cam", 1), ("affinity_cam", 1)):
        source = getattr(preset, name)
        if not isinstance(source, CAMSource):
            raise TypeError(f"{name}: expected a CAMSource, got {type(source).__name__}")
        if source.view != view:
            raise ValueError(
                f"{name}: expected a CAM of view {view} (the views are different crops, so the "
                f"other one does not align), got view {source.view}"
            )
    check_beyond(preset)
