"""Progressive Feature Self-Reinforcement (He et al., AAAI 2024): Eq. 10 and the dense energy."""

from __future__ import annotations

from functools import partial

from fsr.losses import DenseEnergyLoss
from fsr.masking import UncertainMasker
from fsr.objective._labels import PixelLabels, TokenLabels
from fsr.objective._mask import PatchMask
from fsr.objective._networks import projection_width
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective._targets import TeacherTargets
from fsr.objective.recipes._build import build_recipe
from fsr.objective.terms import (
    Affinity,
    AuxiliaryClassification,
    Classification,
    ConfidentReinforcement,
    DenseEnergy,
    Segmentation,
    UncertainReinforcement,
)
from fsr.presets import Preset
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def fsr_recipe(
    settings: Preset, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of a preset of FSR: seven terms over two views, the second masked.

    Args:
        settings: every constant, phase and CAM source.
        student: the unwrapped student.
        teacher: its teacher, whose momentum says from when on it is a CAM source; None takes the
            preset's momentum.

    Source:
        Section "Methodology", Eq. 1-10; Fig. 2.

    Example:
        >>> from fsr.presets import PRESETS
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> student = SingleStageSegmenter(
        ...     3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> fsr_recipe(PRESETS["paper"], student).names[:3]
        ('classification', 'auxiliary', 'affinity')
    """
    preset, width = settings, projection_width(student)
    steps = preset.resolve(momentum=None if teacher is None else teacher.momentum)
    weights = preset.weight_schedules(steps)
    low, high = preset.pseudo_low, preset.pseudo_high
    taught = partial(
        TeacherTargets,
        width,
        temperature=preset.temperature_schedule(),
        center_momentum=preset.center_momentum,
        form=preset.target,
        scale_momentum=preset.scale_momentum,
    )
    aggregates, patches = taught("aggregate", view=1), taught("patches", view=2)
    mask = PatchMask(
        UncertainMasker(
            preset.mask_ratio,
            preset.mask_low,
            preset.mask_high,
            strategy=preset.mask_strategy,
            block=preset.mask_block,
            rounding=preset.mask_rounding,
            thresholds=preset.mask_thresholds,
        ),
        preset.mask_cam,
        random_until=steps["random_mask_until"],
        ratio=preset.mask_ratio_schedule(),
        targets=patches,
    )
    pixels = PixelLabels(
        preset.segmentation_cam,
        refinement=PAR() if preset.refine_labels else None,
        low=low,
        high=high,
    )
    energy = DenseEnergyLoss(
        sigma_rgb=preset.energy_sigma_rgb,
        sigma_xy=preset.energy_sigma_xy,
        scale=preset.energy_scale,
    )
    boundary = None
    if preset.uncertain_boundary_weight > 0:
        boundary = TokenLabels(preset.mask_cam, seen_as=None, low=low, high=high)
    terms = (
        Classification(view=1),
        AuxiliaryClassification(view=1),
        Affinity(TokenLabels(preset.affinity_cam, low=low, high=high)),
        Segmentation(pixels),
        DenseEnergy(pixels, energy),
        UncertainReinforcement(
            patches,
            temperature=preset.student_temperature,
            boundary=boundary,
            boundary_weight=preset.uncertain_boundary_weight,
            boundary_from=steps["random_mask_until"],
        ),
        ConfidentReinforcement(aggregates, view=2, temperature=preset.student_temperature),
    )
    return Recipe(
        name=preset.name,
        terms={term.name: Weighted(term, weights[term.name]) for term in terms},
        masks={2: mask},
        masking=preset.masking,
        total_steps=preset.total_steps,
        shown={
            "teacher_temperature": preset.temperature_schedule(),
            "mask_strategy": mask.strategy,
        },
        renamed={
            "reinforcement.class_center.value": "terms.confident.targets.center.value",
            "reinforcement.patch_center.value": "terms.uncertain.targets.center.value",
        },
    )
