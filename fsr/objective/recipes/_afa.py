"""AFA (Ru et al., CVPR 2022): affinity from attention, and labels spread along it."""

from __future__ import annotations

from fsr.objective._labels import PhasedLabels, PixelLabels
from fsr.objective._propagated import PropagatedLabels
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Classification, PairAffinity, Segmentation
from fsr.presets import AFA, CAMSource
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def afa_recipe(
    settings: AFA, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of AFA: three terms over one padded view.

    Args:
        settings: every constant and phase.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Ru et al., CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> afa_recipe(AFA(), None).names
        ('classification', 'affinity', 'segmentation')
    """
    cam, refinement = CAMSource(), PAR(settings.refinement_steps)
    low, high, radius = settings.pseudo_low, settings.pseudo_high, settings.affinity_radius
    plain = PixelLabels(cam, low=low, high=high, refinement=refinement)
    spread = PropagatedLabels(
        cam, refinement, low=low, high=high, radius=radius, scale=settings.affinity_scale
    )
    labels = PhasedLabels(plain, spread, settings.resolve()["propagated_from"])
    affinity = PairAffinity(labels if settings.propagated_pairs else plain, radius)
    # Segmentation comes last, so that the labels to be seen are those that it learns from.
    weighted = (
        Weighted(Classification(), settings.classification_weight),
        Weighted(affinity, settings.affinity_weight, settings.affinity_from),
        Weighted(Segmentation(labels), settings.segmentation_weight, settings.segmentation_from),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
