"""What a preset of FSR may hold: its terms, its phases, and ranges of every field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsr._core.checks import check_choice
from fsr.aggregation import MASKINGS
from fsr.losses import TARGET_FORMS
from fsr.masking import STRATEGIES, THRESHOLDS
from fsr.presets._beyond_checks import check_beyond
from fsr.presets._cam_source import CAMSource
from fsr.presets._ranges import check_settings

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
    check_settings(preset, PHASES)
    if not isinstance(preset.refine_labels, bool):
        raise TypeError(
            f"refine_labels: expected True or False, got {type(preset.refine_labels).__name__}"
        )
    check_choice("mask_strategy", preset.mask_strategy, STRATEGIES)
    check_choice("mask_thresholds", preset.mask_thresholds, THRESHOLDS)
    if preset.mask_strategy == "entropy" and not (
        preset.uncertain_weight or preset.confident_weight
    ):
        raise ValueError(
            "mask_strategy: 'entropy' reads projections of the teacher, which are made for "
            "self-reinforcement only: expected uncertain_weight or confident_weight above 0, "
            "got 0 for both"
        )
    check_choice("target", preset.target, TARGET_FORMS)
    if preset.masking is not None:
        check_choice("masking", preset.masking, MASKINGS)
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
