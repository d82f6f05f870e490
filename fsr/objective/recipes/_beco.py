"""BECO (Rong et al., CVPR 2023): two networks over label maps, images mixed by their classes."""

from __future__ import annotations

from fsr.objective._class_mix import ClassMix, GivenLabels, MixedView, OnlineLabels
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Cotraining
from fsr.presets import BECO
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def beco_recipe(
    settings: BECO, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of BECO: one term over a view that the step mixes.

    Args:
        settings: every constant and phase.
        student: the unwrapped student, with the heads of the settings: both networks.
        teacher: none is read.

    Source:
        Rong et al., CVPR 2023 (ShenghaiRong/BECO@6a57bed).

    Example:
        >>> beco_recipe(BECO(), None).views.keys()
        dict_keys([2])
    """
    mix = ClassMix(
        GivenLabels(),
        OnlineLabels(settings.confidence),
        start=settings.resolve()["online_from"],
        probability=settings.mix_probability,
        background=settings.mix_background,
        size=settings.boundary_size,
    )
    term = Cotraining(
        mix,
        confident_weight=settings.confident_weight,
        unconfident_weight=settings.unconfident_weight,
    )
    return Recipe(
        name=settings.name,
        terms={term.name: Weighted(term, settings.cotraining_weight)},
        views={2: MixedView(mix)},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
