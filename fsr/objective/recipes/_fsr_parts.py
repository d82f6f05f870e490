"""What the recipe of FSR is put together from, each made of the fields of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fsr.losses import DenseEnergyLoss
from fsr.masking import UncertainMasker
from fsr.objective._labels import PixelLabels, TokenLabels
from fsr.objective._mask import PatchMask
from fsr.objective._part import Term
from fsr.objective._targets import TeacherTargets
from fsr.objective.terms import (
    Affinity,
    CamConsistency,
    ConfidentReinforcement,
    DenseEnergy,
    FrozenRelations,
    RegressionReinforcement,
    Segmentation,
    UncertainReinforcement,
)
from fsr.presets import CAMSource, Preset
from fsr.refine import PAR


def teacher_targets(preset: Preset, width: int) -> tuple[TeacherTargets, TeacherTargets]:
    """Return the targets of the aggregated token (Eq. 9) and those of the patches (Eq. 8).

    Args:
        preset: the preset.
        width: projection width K.
    """
    taught = partial(
        TeacherTargets,
        width,
        temperature=preset.temperature_schedule(),
        center_momentum=preset.center_momentum,
        form=preset.target,
        scale_momentum=preset.scale_momentum,
    )
    return taught("aggregate", view=1), taught("patches", view=2)


def patch_mask(preset: Preset, steps: Mapping[str, int], patches: TeacherTargets) -> PatchMask:
    """Return the mask of view 2 (Eq. 2-4).

    Args:
        preset: the preset.
        steps: the preset's phases in steps.
        patches: targets whose entropy strategy ``"entropy"`` follows.
    """
    masker = UncertainMasker(
        preset.mask_ratio,
        preset.mask_low,
        preset.mask_high,
        strategy=preset.mask_strategy,
        block=preset.mask_block,
        rounding=preset.mask_rounding,
        thresholds=preset.mask_thresholds,
    )
    return PatchMask(
        masker,
        preset.mask_cam,
        random_until=steps["random_mask_until"],
        ratio=preset.mask_ratio_schedule(),
        targets=patches,
    )


def token_labels(
    preset: Preset, source: CAMSource, seen_as: str | None = "affinity_labels"
) -> TokenLabels:
    """Return labels of the tokens of a view.

    Args:
        preset: the preset.
        source: CAM that they are made from.
        seen_as: name under which they can be seen, None for none.
    """
    return TokenLabels(source, seen_as=seen_as, **_thresholds(preset))


def _thresholds(preset: Preset) -> dict[str, Any]:
    """Return the thresholds of labels made from CAMs."""
    return {
        "low": preset.pseudo_low,
        "high": preset.pseudo_high,
        "thresholds": preset.pseudo_thresholds,
    }


def label_terms(preset: Preset) -> tuple[Term, ...]:
    """Return the terms that follow labels made from CAMs: affinity, segmentation, energy.

    Args:
        preset: the preset.
    """
    pixels = PixelLabels(
        preset.segmentation_cam,
        affinity=preset.cam_affinity,
        refinement=PAR() if preset.refine_labels else None,
        **_thresholds(preset),
    )
    energy = DenseEnergyLoss(
        sigma_rgb=preset.energy_sigma_rgb,
        sigma_xy=preset.energy_sigma_xy,
        scale=preset.energy_scale,
    )
    affinity = Affinity(token_labels(preset, preset.affinity_cam))
    return affinity, Segmentation(pixels), DenseEnergy(pixels, energy)


def reinforcement_terms(
    preset: Preset,
    steps: Mapping[str, int],
    aggregates: TeacherTargets,
    patches: TeacherTargets,
) -> tuple[Term, Term]:
    """Return the terms in the place of L_u and L_c (Eq. 8-9).

    Args:
        preset: the preset.
        steps: the preset's phases in steps.
        aggregates: targets of the aggregated token.
        patches: targets of the patches.
    """
    temperature = preset.student_temperature
    confident = ConfidentReinforcement(aggregates, view=2, temperature=temperature)
    if preset.uncertain_form != "prototypes":
        return RegressionReinforcement(preset.uncertain_form, view=2), confident
    boundary = None
    if preset.uncertain_boundary_weight > 0:
        boundary = token_labels(preset, preset.mask_cam, seen_as=None)
    uncertain = UncertainReinforcement(
        patches,
        temperature=temperature,
        boundary=boundary,
        boundary_weight=preset.uncertain_boundary_weight,
        boundary_from=steps["random_mask_until"],
    )
    return uncertain, confident


def further_terms(preset: Preset) -> tuple[Term, ...]:
    """Return the terms that the paper does not have, those with a weight above 0.

    Args:
        preset: the preset.
    """
    terms: list[Term] = []
    if preset.cam_consistency_weight > 0:
        terms.append(CamConsistency())
    if preset.relations_weight > 0 and preset.relations_backbone is not None:
        terms.append(FrozenRelations(preset.relations_backbone, weights=preset.relations_weights))
    return tuple(terms)
