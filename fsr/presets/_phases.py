"""The phases of a preset as steps of a run: when each ends or starts, and what a term weighs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fsr import schedules
from fsr._core.checks import check_positive_int
from fsr.presets._beyond_checks import FURTHER_TERMS
from fsr.presets._preset_checks import CAM_STRATEGIES, LOSS_TERMS, PHASES
from fsr.presets._turnover import teacher_source_step
from fsr.schedules import Schedule

if TYPE_CHECKING:
    from fsr.presets._preset import Preset


def resolved_steps(
    preset: Preset, total_steps: int, momentum: float | Callable[[int], float]
) -> dict[str, int]:
    """Return the step of each phase by field name, and ``teacher_source_from``.

    Args:
        preset: the preset.
        total_steps: length of the run in steps.
        momentum: the teacher's EMA momentum, a number or a function of the step.

    Raises:
        TypeError: ``total_steps`` is no integer.
        ValueError: ``total_steps`` is below 1.

    Example:
        >>> from fsr.presets import PRESETS
        >>> resolved_steps(PRESETS["paper"], 1000, 0.99)["teacher_source_from"]
        301
    """
    check_positive_int("total_steps", total_steps)
    steps = {name: round(getattr(preset, name) * total_steps) for name in PHASES}
    ready = steps["teacher_source_from"] = teacher_source_step(momentum, total_steps)
    sources = {"segmentation_from": preset.segmentation_cam, "affinity_from": preset.affinity_cam}
    if preset.mask_strategy in CAM_STRATEGIES or preset.uncertain_boundary_weight > 0:
        sources["random_mask_until"] = preset.mask_cam
    waiting = {phase for phase, source in sources.items() if source.network == "teacher"}
    if preset.mask_strategy == "entropy":
        waiting.add("random_mask_until")
    for phase in waiting:
        steps[phase] = max(steps[phase], ready)
    return steps


def weights_by_step(preset: Preset, steps: Mapping[str, int]) -> dict[str, Schedule]:
    """Return the weight of each term as a function of the step, 0 before the term's phase.

    A term that the paper does not have is there only with a weight above 0.

    Args:
        preset: the preset.
        steps: what :func:`resolved_steps` returned.

    Example:
        >>> from fsr.presets import PRESETS
        >>> weights = weights_by_step(PRESETS["reference"], PRESETS["reference"].resolve())
        >>> weights["segmentation"](1999), weights["segmentation"](2000)
        (0.0, 0.1)
    """
    starts = {
        "segmentation": steps["segmentation_from"],
        "energy": steps["segmentation_from"],
        "affinity": steps["affinity_from"],
        "cam_consistency": steps["teacher_source_from"],
    }
    weights = {term: getattr(preset, f"{term}_weight") for term in (*LOSS_TERMS, *FURTHER_TERMS)}
    return {
        term: schedules.switch(0.0, weight, starts.get(term, 0))
        for term, weight in weights.items()
        if weight > 0 or term in LOSS_TERMS
    }
