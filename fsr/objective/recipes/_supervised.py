"""Training on label maps, the second stage of methods that end in labels; plain, and URN's."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import LabelledSegmentation
from fsr.presets import URN, Supervised
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
    return _recipe(settings, LabelledSegmentation())


@build_recipe.register
def urn_recipe(
    settings: URN, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of URN: one term, weighted by the uncertainty that is given.

    Args:
        settings: every constant.
        student: the unwrapped student.
        teacher: none is read.

    Source:
        Li et al., AAAI 2022; XMed-Lab/URN@5e56e5e.

    Example:
        >>> urn_recipe(URN(), None).names
        ('segmentation',)
    """
    return _recipe(settings, LabelledSegmentation(trust=settings.trust, ceiling=settings.ceiling))


def _recipe(settings: Supervised, term: LabelledSegmentation) -> Recipe:
    """Return a recipe of one term."""
    return Recipe(
        name=settings.name,
        terms={term.name: Weighted(term, settings.segmentation_weight)},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
