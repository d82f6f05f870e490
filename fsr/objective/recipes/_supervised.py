"""Plain training on label maps: the second stage of methods that end in labels."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import LabelledSegmentation
from fsr.presets import Supervised
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def supervised_recipe(
    settings: Supervised, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of training on label maps: one term.

    Args:
        settings: every constant.
        student: the unwrapped student.
        teacher: none is read.

    Example:
        >>> supervised_recipe(Supervised(), None).names
        ('segmentation',)
    """
    term = LabelledSegmentation(settings.trust)
    return Recipe(
        name=settings.name,
        terms={term.name: Weighted(term, settings.segmentation_weight)},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
