"""From the settings of a method to its recipe, by the type of the settings."""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any

from fsr.objective._recipe import Recipe
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@singledispatch
def build_recipe(
    settings: Any, student: SingleStageSegmenter, teacher: EMATeacher | None
) -> Recipe:
    """Return the recipe that settings stand for, for a student.

    A method registers its settings' type: ``@build_recipe.register``.

    Args:
        settings: a :class:`fsr.presets.Preset`, a :class:`fsr.objective.Recipe`, or settings of
            another registered type.
        student: the unwrapped student, whose widths the terms take.
        teacher: its averaged teacher, if there is one.

    Raises:
        TypeError: no method knows such settings.

    Example:
        >>> recipe = Recipe("nothing", {})
        >>> build_recipe(recipe, None, None).name
        'nothing'
    """
    raise TypeError(f"preset: expected a name, a Preset or a Recipe, got {type(settings).__name__}")


@build_recipe.register
def _(settings: Recipe, student: SingleStageSegmenter, teacher: EMATeacher | None) -> Recipe:
    # Terms have state: two objectives of one recipe must not share it.
    return copy.deepcopy(settings)
