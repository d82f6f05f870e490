"""Ranges of the fields of a preset that switch on what neither the paper nor its code has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from fsr._core.checks import check_choice
from fsr.cam import LABEL_THRESHOLDS

if TYPE_CHECKING:
    from fsr.presets._preset import Preset

# How L_u compares: distributions over prototypes (Eq. 8), or a form of fsr.losses.regression_loss.
UncertainForm = Literal["prototypes", "cosine", "smooth_l1"]
UNCERTAIN_FORMS: tuple[UncertainForm, ...] = get_args(UncertainForm)

# Terms that a recipe has only where their weight is above 0.
FURTHER_TERMS = ("cam_consistency", "relations")


def check_beyond(preset: Preset) -> None:
    """Raise unless the further switches of a preset are in their range and fit the others.

    Raises:
        TypeError: a field has another type.
        ValueError: a field is out of range, or two do not go together.
    """
    _check_relations(preset)
    check_choice("pseudo_thresholds", preset.pseudo_thresholds, LABEL_THRESHOLDS)
    check_choice("uncertain_form", preset.uncertain_form, UNCERTAIN_FORMS)
    if preset.uncertain_form != "prototypes":
        _check_regression(preset)


def _check_regression(preset: Preset) -> None:
    """Raise if something asks for the distributions that a regression does without."""
    form = f"uncertain_form={preset.uncertain_form!r}"
    if preset.mask_strategy == "entropy":
        raise ValueError(
            f"mask_strategy: expected one that reads no distributions with {form}, got 'entropy'"
        )
    if preset.uncertain_boundary_weight > 0:
        raise ValueError(
            f"uncertain_boundary_weight: expected 0 with {form}, which weighs masked patches "
            f"alike, got {preset.uncertain_boundary_weight}"
        )


def _check_relations(preset: Preset) -> None:
    """Raise unless a frozen encoder is named where it is read, and its weights with it."""
    for name in ("relations_backbone", "relations_weights"):
        value = getattr(preset, name)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name}: expected text or None, got {type(value).__name__}")
    if preset.relations_backbone:
        return
    for name in ("relations_weight", "relations_weights"):
        if getattr(preset, name):
            raise ValueError(
                "relations_backbone: expected the timm name of a frozen encoder, as "
                f"{name}={getattr(preset, name)!r}, got {preset.relations_backbone!r}"
            )
