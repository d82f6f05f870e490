"""Ranges of the fields of a preset that switch on what neither the paper nor its code has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsr._core.checks import check_between

if TYPE_CHECKING:
    from fsr.presets._preset import Preset


def check_beyond(preset: Preset) -> None:
    """Raise unless the further switches of a preset are in their range and fit the others.

    Raises:
        TypeError: a field has another type.
        ValueError: a field is out of range, or two do not go together.
    """
    if preset.momentum_memories is not None:
        check_between(
            "momentum_memories", preset.momentum_memories, 0.0, float("inf"), inclusive=False
        )
