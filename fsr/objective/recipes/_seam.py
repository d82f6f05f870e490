"""SEAM (Wang et al., CVPR 2020): maps of an image and of its smaller copy agree."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective._resized import ResizedView, SizedMaps
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import (
    ClassificationOfViews,
    CrossEquivariance,
    Equivariance,
    MinPooling,
    ViewDifferences,
)
from fsr.presets import SEAM
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher

# Not 2: a second view that is given, such as another crop, must not take the copy's place.
SMALL = 3


@build_recipe.register
def seam_recipe(
    settings: SEAM, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of SEAM: four terms over view 1 and a smaller copy of it.

    Args:
        settings: every constant.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Wang et al., CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> seam_recipe(SEAM(), None).names
        ('classification', 'min_pooling', 'equivariance', 'cross_equivariance')
    """
    maps = [SizedMaps(head, view) for view in (1, SMALL) for head in ("cam", "revised")]
    differences = ViewDifferences(maps, settings.hardest_share)
    weighted = (
        Weighted(ClassificationOfViews((1, SMALL)), settings.classification_weight),
        Weighted(MinPooling(maps[1::2]), settings.min_pooling_weight),
        Weighted(Equivariance(differences), settings.equivariance_weight),
        Weighted(CrossEquivariance(differences), settings.cross_equivariance_weight),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        views={SMALL: ResizedView(settings.small_scale)},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
