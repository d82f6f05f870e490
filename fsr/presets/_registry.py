"""Settings of methods, found by name; FSR has three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from fsr._core.checks import check_choice
from fsr.presets._cam_source import CAMSource
from fsr.presets._method import METHODS, Method, Settings, register_method
from fsr.presets._preset import Preset

# The text: Eq. 2 on the logits of the pass itself, Eq. 3-4 per patch, Eq. 7 over unmasked tokens,
# Eq. 10 without the dense energy, no phases. The auxiliary classifier stays: PTC needs its CAM.
_PAPER = Preset(
    name="paper",
    mask_cam=CAMSource(layer="final", view=2, scales=(1.0,), flip=False),
    segmentation_cam=CAMSource(layer="final", view=1, reuse=True),
    affinity_cam=CAMSource(layer="auxiliary", view=1, reuse=True),
    mask_block=1,
    mask_rounding="floor",
    masking="exclude",
    energy_weight=0.0,
    random_mask_until=0.0,
    segmentation_from=0.0,
)

# The released code: blocks of 64 pixels, random masks for the first fifth, multi-scale CAMs.
_REFERENCE = Preset(
    name="reference",
    mask_cam=CAMSource(layer="auxiliary", view=2),
    segmentation_cam=CAMSource(layer="final", view=1),
    affinity_cam=CAMSource(layer="auxiliary", view=1),
)

# The same losses; CAMs from passes that the step makes anyway, and from half-size mirrored pairs:
# alone, the former scored lower than `reference` by a standard deviation over seeds.
_FAST = replace(
    _REFERENCE,
    name="fast",
    mask_cam=CAMSource("teacher", "auxiliary", 2, reuse=True, extra=(0.5,)),
    segmentation_cam=CAMSource("student", "final", 1, reuse=True, extra=(0.5,)),
    affinity_cam=CAMSource("student", "auxiliary", 1, reuse=True, extra=(0.5,)),
)

PRESETS: dict[str, Preset] = {p.name: register_method(p) for p in (_PAPER, _REFERENCE, _FAST)}

# What the released recipe changes for MS COCO 2014; the learning rate's warm-up stays 1,500 steps.
COCO: dict[str, Any] = {
    "total_steps": 80_000,
    "affinity_from": 0.15,
    "pseudo_high": 0.65,
    "learning_rate_warmup": 0.01875,
}


def get_preset(preset: str | Preset = "reference", **overrides: Any) -> Preset:
    """Return a preset of FSR by name, with fields changed by name.

    Args:
        preset: ``"paper"``, ``"reference"``, ``"fast"``, or a :class:`Preset`.
        overrides: new values of fields; a CAM source also takes a mapping of the parts to change.

    Raises:
        ValueError: unknown preset or field; the message has the nearest name.

    Example:
        >>> get_preset("fast", mask_ratio=0.5, mask_cam={"layer": "final"}).mask_cam.layer
        'final'
    """
    if isinstance(preset, str):
        check_choice("preset", preset, PRESETS)
        preset = PRESETS[preset]
    elif not isinstance(preset, Preset):
        raise TypeError(f"preset: expected a name or a Preset, got {type(preset).__name__}")
    return _changed(preset, overrides)


def get_method(method: str | Method, **overrides: Any) -> Method:
    """Return the settings of any method by name, with fields changed by name.

    Args:
        method: a name of :data:`METHODS`, or settings.
        overrides: new values of fields.

    Raises:
        TypeError: ``method`` is neither.
        ValueError: unknown method or field; the message has the nearest name.

    Example:
        >>> get_method("paper", total_steps=100).total_steps
        100
    """
    if isinstance(method, str):
        check_choice("preset", method, METHODS)
        method = PRESETS.get(method, METHODS[method])
    elif not isinstance(method, Method):
        raise TypeError(f"preset: expected a name or settings, got {type(method).__name__}")
    return _changed(method, overrides)


def _changed(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """Return settings with fields changed by name."""
    names = [field.name for field in fields(settings)]  # type: ignore[arg-type]
    for name, value in overrides.items():
        check_choice("preset field", name, names)
        current = getattr(settings, name)
        if isinstance(current, CAMSource) and isinstance(value, Mapping):
            for part in value:
                check_choice(f"{name} field", part, asdict(current))
            overrides[name] = replace(current, **value)
    return replace(settings, **overrides)  # type: ignore[type-var]
