"""Progressive Feature Self-Reinforcement (He et al., AAAI 2024): Eq. 10 and the dense energy."""

from __future__ import annotations

from fsr.objective._networks import projection_width
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective.recipes._build import build_recipe
from fsr.objective.recipes._fsr_parts import (
    further_terms,
    label_terms,
    patch_mask,
    reinforcement_terms,
    teacher_targets,
)
from fsr.objective.terms import AuxiliaryClassification, Classification
from fsr.presets import Preset
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


@build_recipe.register
def fsr_recipe(
    settings: Preset, student: SingleStageSegmenter, teacher: EMATeacher | None = None
) -> Recipe:
    """Return the recipe of a preset of FSR: seven terms over two views, the second masked.

    Terms that the paper does not have follow them where their weight is above 0.

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
    preset = settings
    steps = preset.resolve(momentum=None if teacher is None else teacher.momentum)
    weights = preset.weight_schedules(steps)
    aggregates, patches = teacher_targets(preset, projection_width(student))
    mask = patch_mask(preset, steps, patches)
    terms = (
        Classification(view=1),
        AuxiliaryClassification(view=1),
        *label_terms(preset),
        *reinforcement_terms(preset, steps, aggregates, patches),
        *further_terms(preset),
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
