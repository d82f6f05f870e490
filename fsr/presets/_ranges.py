"""Ranges of every number among the settings of the methods, by the name of the field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsr._core.ranges import (
    BELOW_ONE,
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SHARE,
    Range,
    check_numbers,
)

INSIDE = Range(0, 1, above=True, below=True)
SCALE = Range(0, 1, above=True)

# A field that several methods have means the same in all of them. Fields that end in ``_weight``
# are at least 0, and phases are fractions of the run, without standing here.
RANGES: dict[str, Range] = {
    "affinity_blocks": POSITIVE_COUNT,
    "affinity_radius": POSITIVE_COUNT,
    "affinity_scale": POSITIVE,
    "boundary_size": POSITIVE_COUNT,
    "cam_affinity": COUNT,
    "ceiling": NOT_NEGATIVE,
    "center_momentum": SHARE,
    "classifier_dropout": SHARE,
    "confidence": SHARE,
    "contrast_dim": POSITIVE_COUNT,
    "contrast_temperature": POSITIVE,
    "correlation_dim": POSITIVE_COUNT,
    "crf_workers": COUNT,
    "crop_size": POSITIVE_COUNT,
    "crop_threshold": Range(0, 2),
    "crops": POSITIVE_COUNT,
    "drop_path_rate": SHARE,
    "dropout": SHARE,
    "energy_scale": SCALE,
    "energy_sigma_rgb": POSITIVE,
    "energy_sigma_xy": POSITIVE,
    "feature_dilation": POSITIVE_COUNT,
    "feature_dim": POSITIVE_COUNT,
    "final_momentum": SHARE,
    "focal_offset": POSITIVE,
    "focal_power": NOT_NEGATIVE,
    "gate_rate": BELOW_ONE,
    "hardest_share": SHARE,
    "head_dropout": SHARE,
    "head_momentum": SHARE,
    "learning_rate_warmup_ratio": SHARE,
    "lstm_dim": POSITIVE_COUNT,
    "map_blocks": POSITIVE_COUNT,
    "mask_block": POSITIVE_COUNT,
    "mask_high": SHARE,
    "mask_low": SHARE,
    "mask_ratio": INSIDE,
    "mask_ratio_start": INSIDE,
    "mix_probability": SHARE,
    "momentum": SHARE,
    "momentum_memories": POSITIVE,
    "pamr_iterations": POSITIVE_COUNT,
    "pseudo_background_top": SHARE,
    "pseudo_high": SHARE,
    "pseudo_low": SHARE,
    "pseudo_lowest": SHARE,
    "pseudo_top": SHARE,
    "ranking_decay": SHARE,
    "refinement_steps": POSITIVE_COUNT,
    "scale_momentum": BELOW_ONE,
    "separation_blocks": POSITIVE_COUNT,
    "small_scale": INSIDE,
    "student_temperature": POSITIVE,
    "target_temperature": POSITIVE,
    "teacher_temperature": POSITIVE,
    "teacher_temperature_start": POSITIVE,
    "total_steps": POSITIVE_COUNT,
    "trust": SHARE,
    "view_crop": SCALE,
    "view_crop_prob": SHARE,
    "view_flip": SHARE,
    "view_tiles": POSITIVE_COUNT,
}
# Lists of numbers: range of each, and how many there are, None for any number.
LISTS: dict[str, tuple[Range, int | None]] = {
    "cam_scales": (POSITIVE, None),
    "correlation_layers": (FINITE, 2),
    "pamr_dilations": (POSITIVE, None),
}
PAIRS = (("mask_low", "mask_high"), ("pseudo_low", "pseudo_high"))


def range_of(name: str, phases: tuple[str, ...]) -> Range | None:
    """Return the range of a field that is a number, None if it is not known.

    Args:
        name: of the field.
        phases: fields that are fractions of the run.

    Example:
        >>> str(range_of("mask_ratio", ())), str(range_of("energy_weight", ()))
        ('a number in (0.0, 1.0)', 'a number in [0.0, inf)')
    """
    if name.endswith("_weight"):
        return NOT_NEGATIVE
    return SHARE if name in phases else RANGES.get(name)


def check_settings(settings: Any, phases: tuple[str, ...]) -> None:
    """Raise unless every number among the settings of a method is in its range.

    Args:
        settings: a dataclass; a number whose range is not known must be finite.
        phases: fields that are fractions of the run.

    Raises:
        TypeError: a field has another type.
        ValueError: a number is out of its range, NaN or infinite, or a pair is not in order.
    """
    fields = dataclasses.fields(settings)
    values: Mapping[str, Any] = {field.name: getattr(settings, field.name) for field in fields}
    optional = {field.name for field in fields if "None" in str(field.type)}
    for name, value in values.items():
        if value is None and name in optional:
            continue
        if name in LISTS:
            each, count = LISTS[name]
            check_numbers(name, value, each, count)
        elif (known := range_of(name, phases)) is not None:
            known.check(name, value)
        elif isinstance(value, float):
            FINITE.check(name, value)
    for low, high in PAIRS:
        if low in values and not values[low] < values[high]:
            raise ValueError(f"{low}: expected less than {high}={values[high]}, got {values[low]}")
