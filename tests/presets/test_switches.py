"""Fields of a preset that neither the paper nor the released code has: off, on, and refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fsr import schedules
from fsr.presets import FURTHER_TERMS, LOSS_TERMS, PRESETS, get_preset, teacher_source_step

OFF: dict[str, Any] = {
    "momentum_memories": None,
    "uncertain_form": "prototypes",
    "cam_consistency_weight": 0.0,
    "pseudo_thresholds": "fixed",
    "cam_affinity": 0,
    "relations_weight": 0.0,
    "relations_backbone": None,
    "relations_weights": None,
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_further_switch_is_off_in_every_preset(name: str) -> None:
    assert {field: getattr(PRESETS[name], field) for field in OFF} == OFF


# -- the teacher's momentum -----------------------------------------------------------------------


def test_memories_take_the_place_of_both_momenta() -> None:
    preset = get_preset("fast", total_steps=400, momentum_memories=20.0)
    assert preset.momentum_schedule() == schedules.constant(math.exp(-20 / 400))
    assert get_preset("fast", total_steps=400).momentum_schedule()(400) == 1.0


def test_phases_wait_for_the_teacher_that_memories_make() -> None:
    preset = get_preset("fast", total_steps=400, momentum_memories=20.0, random_mask_until=0.0)
    sound = teacher_source_step(math.exp(-20 / 400), 400)
    assert preset.resolve()["teacher_source_from"] == preset.resolve()["random_mask_until"] == sound
    # Three memories of twenty, in a run of any length.
    assert sound == 62
    assert preset.resolve(4000)["teacher_source_from"] == 602


def test_a_constant_teacher_temperature_is_a_warm_up_without_a_slope() -> None:
    preset = get_preset("fast", teacher_temperature_start=0.05, teacher_temperature=0.05)
    assert {preset.temperature_schedule()(step) for step in (0, 1, 2499, 20_000)} == {0.05}


# -- further terms --------------------------------------------------------------------------------


def test_a_further_term_is_there_with_a_weight_alone() -> None:
    plain = get_preset("fast").weight_schedules()
    assert tuple(plain) == LOSS_TERMS
    for term in FURTHER_TERMS:
        options = {"relations_backbone": "fsr_scenes_tiny"} if term == "relations" else {}
        weights = get_preset("fast", **{f"{term}_weight": 0.05}, **options).weight_schedules()
        assert tuple(weights) == (*LOSS_TERMS, term)


def test_the_teachers_cam_is_followed_once_the_teacher_is_sound() -> None:
    preset = get_preset(
        "fast", total_steps=400, momentum_memories=20.0, cam_consistency_weight=0.05
    )
    weight = preset.weight_schedules()["cam_consistency"]
    assert (weight(61), weight(62), weight(400)) == (0.0, 0.05, 0.05)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"momentum_memories": 0}, ValueError, r"momentum_memories: .* \(0.0, inf\), got 0"),
        (
            {"momentum_memories": "20"},
            TypeError,
            "momentum_memories: expected a number in .*, got '20'",
        ),
        (
            {"uncertain_form": "cosin"},
            ValueError,
            r"uncertain_form: expected one of .* \(did you mean 'cosine'\?\)",
        ),
        (
            {"uncertain_form": "cosine", "mask_strategy": "entropy"},
            ValueError,
            "mask_strategy: .* with uncertain_form='cosine', got 'entropy'",
        ),
        (
            {"uncertain_form": "smooth_l1", "uncertain_boundary_weight": 0.5},
            ValueError,
            "uncertain_boundary_weight: expected 0 with uncertain_form='smooth_l1', .* got 0.5",
        ),
        (
            {"relations_weight": 1.0},
            ValueError,
            "relations_backbone: expected the timm name .* as relations_weight=1.0, got None",
        ),
        (
            {"relations_weights": "file.safetensors"},
            ValueError,
            "relations_backbone: .* as relations_weights='file.safetensors', got None",
        ),
        (
            {"relations_backbone": 3},
            TypeError,
            "relations_backbone: expected text or None, got int",
        ),
        (
            {"relations_backbone": "fsr_scenes_tiny", "relations_weights": True},
            TypeError,
            "relations_weights: expected text or None, got bool",
        ),
        ({"relations_weight": -1.0}, ValueError, r"relations_weight: .* \[0.0, inf\), got -1.0"),
        (
            {"cam_affinity": -1},
            ValueError,
            r"cam_affinity: expected an integer in \[0, inf\), got -1",
        ),
        ({"cam_affinity": 1.5}, TypeError, "cam_affinity: expected an integer in .*, got 1.5"),
        ({"cam_affinity": True}, TypeError, "cam_affinity: expected an integer in .*, got True"),
        (
            {"pseudo_thresholds": "mixtur"},
            ValueError,
            r"pseudo_thresholds: expected one of .* \(did you mean 'mixture'\?\)",
        ),
        (
            {"cam_consistency_weight": -0.1},
            ValueError,
            r"cam_consistency_weight: expected a number in \[0.0, inf\), got -0.1",
        ),
    ],
)
def test_a_bad_value_is_refused_by_name(
    overrides: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        get_preset("fast", **overrides)
