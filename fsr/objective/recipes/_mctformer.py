"""MCTformer+ (Xu et al., TPAMI 2024): class tokens kept apart, beside classified patches."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Classification, ClassTokenSeparation, PatchClassification
from fsr.presets import MCTformerPlus
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def mctformer_recipe(
    settings: MCTformerPlus, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of MCTformer+: three terms over one view.

    Args:
        settings: every constant.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Xu et al., TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> mctformer_recipe(MCTformerPlus(), None).names
        ('classification', 'patch_classification', 'separation')
    """
    weighted = (
        Weighted(Classification(), settings.classification_weight),
        Weighted(PatchClassification(), settings.patch_classification_weight),
        Weighted(ClassTokenSeparation(), settings.separation_weight),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
