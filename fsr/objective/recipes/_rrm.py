"""RRM (Zhang et al., AAAI 2020): a segmentation learned on reliable regions."""

from __future__ import annotations

from fsr.losses import DenseEnergyLoss
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective._reliable_region import ReliableRegion
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import Classification, DenseEnergy, Prototypes, RegionSegmentation
from fsr.presets import RRM
from fsr.refine import DenseCRF
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def rrm_recipe(
    settings: RRM, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of RRM: classification, then a segmentation beside it.

    Args:
        settings: every constant and phase.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Raises:
        ImportError: the CRF's backend is not installed (extra ``crf``).

    Source:
        Zhang et al., AAAI 2020 (zbf1991/RRM@6d4191c).

    Example:
        >>> rrm_recipe(RRM(prototype_weight=0.1, crf_backend="torch"), None).names
        ('classification', 'segmentation', 'energy', 'prototypes')
    """
    crf = DenseCRF("rrm", backend=settings.crf_backend)
    labels = ReliableRegion(settings.cam_scales, crf=crf, workers=settings.crf_workers)
    energy = DenseEnergyLoss(
        sigma_rgb=settings.energy_sigma_rgb,
        sigma_xy=settings.energy_sigma_xy,
        scale=settings.energy_scale,
    )
    begin = settings.joint_from
    weighted = [
        Weighted(Classification(), settings.classification_weight),
        Weighted(RegionSegmentation(labels), settings.segmentation_weight, begin),
        Weighted(DenseEnergy(labels, energy), settings.energy_weight, begin),
    ]
    if settings.prototype_weight > 0:
        weighted.append(Weighted(Prototypes(), settings.prototype_weight, begin))
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
