"""ReCAM (Chen et al., CVPR 2022): present classes told from all others by a second classifier."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Classification, Reactivation
from fsr.presets import ReCAM
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def recam_recipe(
    settings: ReCAM, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of ReCAM: two terms over one view.

    Args:
        settings: every constant.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Chen et al., CVPR 2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> recam_recipe(ReCAM(), None).names
        ('classification', 'reactivation')
    """
    weighted = (
        Weighted(Classification(), settings.classification_weight),
        Weighted(Reactivation(), settings.reactivation_weight),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
