"""1Stage (Araslanov and Roth, CVPR 2020): masks that are pooled, and learn from themselves."""

from __future__ import annotations

from fsr.objective._confident_masks import ConfidentMasks
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Classification, SelfSupervisedMask
from fsr.presets import OneStage
from fsr.refine import PAMR
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def one_stage_recipe(
    settings: OneStage, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of 1Stage: two terms over one view.

    Args:
        settings: every constant and phase.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Araslanov and Roth, CVPR 2020 (visinf/1-stage-wseg@d905fca).

    Example:
        >>> one_stage_recipe(OneStage(), None).names
        ('classification', 'self_supervised_mask')
    """
    dilations = tuple(int(dilation) for dilation in settings.pamr_dilations)
    masks = ConfidentMasks(
        PAMR(settings.pamr_iterations, dilations),
        top=settings.pseudo_top,
        background_top=settings.pseudo_background_top,
        lowest=settings.pseudo_lowest,
    )
    weighted = (
        Weighted(Classification(), settings.classification_weight),
        Weighted(SelfSupervisedMask(masks), settings.mask_weight, settings.mask_from),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=frozenset({"stages"} if settings.gci else ()),
    )
