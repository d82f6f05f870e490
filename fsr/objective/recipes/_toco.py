"""ToCo (Ru et al., CVPR 2023): patch tokens and class tokens contrasted."""

from __future__ import annotations

from typing import Any

from fsr.losses import DenseEnergyLoss
from fsr.objective._crops import LocalCrops
from fsr.objective._labels import PhasedLabels, PixelLabels, TokenLabels
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import (
    Affinity,
    AuxiliaryClassification,
    Classification,
    ClassTokenContrast,
    DenseEnergy,
    Segmentation,
)
from fsr.presets import CAMSource, ToCo
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def toco_recipe(
    settings: ToCo, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of ToCo: six terms over two views and local crops of the first.

    Args:
        settings: every constant and phase.
        student: the unwrapped student, with the heads of the settings.
        teacher: none is read.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> student = SingleStageSegmenter(3, "vit_tiny_patch16_224", image_size=32,
        ...     backbone_options=size, heads=ToCo(contrast_dim=8).heads())
        >>> toco_recipe(ToCo(), student).names[-1]
        'contrast'
    """
    final, auxiliary = CAMSource(), CAMSource(layer="auxiliary")
    borders: dict[str, Any] = {"low": settings.pseudo_low, "high": settings.pseudo_high}
    early, late = (
        PixelLabels(source, refinement=PAR(), **borders) for source in (auxiliary, final)
    )
    head: Any = student.heads["class_projection"]
    labels = PhasedLabels(early, late, settings.resolve()["final_labels_from"])
    crops = LocalCrops(
        auxiliary,
        count=settings.crops,
        crop_size=settings.crop_size,
        threshold=settings.crop_threshold,
        **borders,
    )
    contrast = ClassTokenContrast(
        crops,
        head.projector,
        momentum=settings.head_momentum,
        temperature=settings.contrast_temperature,
    )
    affinity = Affinity(TokenLabels(auxiliary, **borders))
    energy = DenseEnergy(labels, DenseEnergyLoss(scale=settings.energy_scale))
    weighted = (
        Weighted(Classification(), settings.classification_weight),
        Weighted(AuxiliaryClassification(), settings.auxiliary_weight),
        Weighted(affinity, settings.affinity_weight, settings.affinity_from),
        Weighted(Segmentation(labels), settings.segmentation_weight, settings.segmentation_from),
        Weighted(energy, settings.energy_weight, settings.segmentation_from),
        Weighted(contrast, settings.contrast_weight, settings.contrast_from),
    )
    return Recipe(
        name=settings.name,
        terms={each.term.name: each for each in weighted},
        total_steps=settings.total_steps,
        offers=settings.offers,
    )
