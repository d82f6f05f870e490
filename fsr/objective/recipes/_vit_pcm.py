"""ViT-PCM (Rossetti et al., ECCV 2022): patches classified, pooled by their maximum."""

from __future__ import annotations

from fsr.objective._recipe import Recipe, Weighted
from fsr.objective._tiled import TiledPictures, TiledViews
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import ClassifierPenalty, PatchEquivariance, PatchMaxClassification
from fsr.presets import ViTPCM
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def vit_pcm_recipe(
    settings: ViTPCM, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of ViT-PCM: three terms over one view and what is made of it.

    Args:
        settings: every constant.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> vit_pcm_recipe(ViTPCM(), None).names
        ('classification', 'equivariance', 'penalty')
    """
    views = TiledViews(
        settings.view_tiles,
        crop=settings.view_crop,
        crop_prob=settings.view_crop_prob,
        flip=settings.view_flip,
    )
    weighted = (
        Weighted(PatchMaxClassification(), settings.classification_weight),
        Weighted(PatchEquivariance(views), settings.equivariance_weight),
        Weighted(ClassifierPenalty(), settings.penalty_weight),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        views={2: TiledPictures(views)},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
