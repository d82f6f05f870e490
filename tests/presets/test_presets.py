"""The recipes: the released numbers, the text's choices, and what a change may look like."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsr.presets import (
    COCO,
    LOSS_TERMS,
    PHASES,
    PRESETS,
    CAMSource,
    Preset,
    get_preset,
    teacher_source_step,
)


def test_the_voc_run_resolves_to_the_released_numbers() -> None:
    steps = PRESETS["reference"].resolve()
    assert PRESETS["reference"].total_steps == 20_000
    assert steps["segmentation_from"] == 2000
    assert steps["random_mask_until"] == 4000
    assert steps["teacher_temperature_warmup"] == 2500
    assert steps["learning_rate_warmup"] == 1500
    assert steps["affinity_from"] == 0


def test_the_coco_run_resolves_to_the_released_numbers() -> None:
    preset = get_preset("reference", **COCO)
    steps = preset.resolve()
    assert preset.total_steps == 80_000
    assert steps["segmentation_from"] == 8000
    assert steps["affinity_from"] == 12_000
    assert steps["random_mask_until"] == 16_000
    assert steps["teacher_temperature_warmup"] == 10_000
    assert steps["learning_rate_warmup"] == 1500
    assert (preset.pseudo_low, preset.pseudo_high) == (0.25, 0.65)


def test_weights_of_every_preset_are_those_of_the_paper() -> None:
    expected = {
        "classification": 1.0,
        "affinity": 0.2,
        "segmentation": 0.1,
        "uncertain": 0.1,
        "confident": 0.1,
    }
    for preset in PRESETS.values():
        assert {term: getattr(preset, f"{term}_weight") for term in expected} == expected
        assert preset.auxiliary_weight == 1.0
    assert [PRESETS[name].energy_weight for name in ("paper", "reference", "fast")] == [
        0,
        0.05,
        0.05,
    ]


def test_the_paper_preset_follows_the_text() -> None:
    paper = PRESETS["paper"]
    assert (paper.mask_block, paper.mask_rounding, paper.masking) == (1, "floor", "exclude")
    assert paper.mask_cam == CAMSource("student", "final", 2, scales=(1.0,), flip=False)
    assert paper.segmentation_cam == CAMSource("student", "final", 1, reuse=True)
    assert paper.affinity_cam == CAMSource("student", "auxiliary", 1, reuse=True)
    assert paper.resolve()["random_mask_until"] == paper.resolve()["segmentation_from"] == 0


def test_the_reference_preset_follows_the_released_code() -> None:
    reference = PRESETS["reference"]
    assert (reference.mask_block, reference.mask_rounding, reference.masking) == (
        4,
        "ceil",
        "ignore",
    )
    assert reference.mask_cam == CAMSource("student", "auxiliary", 2)
    assert reference.segmentation_cam == CAMSource("student", "final", 1)
    assert reference.affinity_cam == CAMSource("student", "auxiliary", 1)
    assert reference.mask_cam.scales == (1.0, 0.5, 1.5)
    assert reference.mask_cam.flip


def test_fast_differs_from_reference_in_its_cam_sources_alone_and_reuses_passes() -> None:
    fast, reference = PRESETS["fast"], PRESETS["reference"]
    sources = ("mask_cam", "segmentation_cam", "affinity_cam")
    assert all(getattr(fast, source).reuse for source in sources)
    assert all(getattr(fast, source).extra == (0.5,) for source in sources)
    same = {name: getattr(reference, name) for name in sources}
    assert replace(fast, name="reference", **same) == reference


def test_weights_switch_at_their_steps() -> None:
    preset = get_preset("reference", total_steps=100, affinity_from=0.15)
    weights = preset.weight_schedules()
    assert set(weights) == set(LOSS_TERMS)
    assert [weights["segmentation"](step) for step in (9, 10, 500)] == [0.0, 0.1, 0.1]
    assert [weights["energy"](step) for step in (9, 10)] == [0.0, 0.05]
    assert [weights["affinity"](step) for step in (14, 15)] == [0.0, 0.2]
    assert weights["classification"](0) == weights["auxiliary"](0) == 1.0
    assert weights["uncertain"](0) == weights["confident"](0) == 0.1


def test_temperature_and_momentum_follow_the_recipe() -> None:
    preset = PRESETS["reference"]
    temperature, momentum = preset.temperature_schedule(), preset.momentum_schedule()
    assert temperature(0) == 0.04
    assert temperature(2498) < temperature(2499) == pytest.approx(0.07)
    assert momentum(0) == 0.9995
    assert momentum(20_000) == 1.0


@pytest.mark.parametrize(("momentum", "expected"), [(0.0, 4), (0.9, 31), (0.99, 301)])
def test_a_teacher_is_a_source_once_1_minus_m_times_steps_exceeds_3(
    momentum: float, expected: int
) -> None:
    assert teacher_source_step(momentum, 10_000) == expected
    assert (1 - momentum) * (expected - 1) <= 3 + 1e-9 < (1 - momentum) * expected + 1e-6


def test_a_slow_teacher_of_a_short_run_never_becomes_a_source() -> None:
    assert teacher_source_step(0.9995, 500) == 500
    assert get_preset("fast", total_steps=500).resolve()["random_mask_until"] == 500


def test_phases_that_read_a_teachers_cam_wait_for_the_teacher() -> None:
    source = {"network": "teacher"}
    preset = get_preset(
        "fast",
        total_steps=1000,
        momentum=0.98,
        final_momentum=0.98,
        segmentation_cam=source,
        affinity_cam=source,
        random_mask_until=0.0,
    )
    steps = preset.resolve()
    assert steps["teacher_source_from"] == 151
    assert steps["random_mask_until"] == steps["segmentation_from"] == steps["affinity_from"] == 151
    assert preset.weight_schedules(steps)["affinity"](150) == 0.0
    assert replace(preset, mask_strategy="edge").resolve()["random_mask_until"] == 0
    assert preset.resolve(momentum=0.5)["random_mask_until"] == 7


def test_short_runs_leave_the_random_phase() -> None:
    # A momentum with 1 / (1 - m) at a tenth of the steps, as short runs choose it.
    preset = get_preset("fast", total_steps=400, momentum=1 - 10 / 400)
    assert preset.resolve()["random_mask_until"] < 0.4 * 400


@given(st.integers(1, 100_000))
def test_phases_stay_within_any_run(total: int) -> None:
    steps = replace(PRESETS["reference"], total_steps=total).resolve()
    assert all(0 <= steps[name] <= total for name in PHASES)


def test_presets_are_plain_data() -> None:
    for preset in PRESETS.values():
        data = json.loads(json.dumps(asdict(preset)))
        rebuilt = Preset(
            **{
                name: CAMSource(**value) if isinstance(value, dict) else value
                for name, value in data.items()
            }
        )
        assert rebuilt == preset
        with pytest.raises(FrozenInstanceError):
            preset.mask_ratio = 0.1  # type: ignore[misc]


def test_the_description_names_every_field_and_the_steps() -> None:
    for preset in PRESETS.values():
        text = str(preset)
        assert all(field.name in text for field in fields(Preset))
    assert "0.2 of the run; step 4000" in str(PRESETS["reference"])
    assert "1/0.5/1.5 with flips" in str(PRESETS["reference"])


def test_overrides_change_fields_and_parts_of_a_cam_source() -> None:
    preset = get_preset("reference", mask_ratio=0.5, mask_cam={"scales": [1.0, 2], "flip": False})
    assert preset.mask_ratio == 0.5
    assert preset.mask_cam == CAMSource("student", "auxiliary", 2, scales=(1.0, 2.0), flip=False)
    assert get_preset(preset) == preset
    assert PRESETS["reference"].mask_ratio == 0.4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mask_ration": 0.5}, "did you mean 'mask_ratio'"),
        ({"mask_cam": {"layr": "final"}}, "mask_cam field: .*did you mean 'layer'"),
        (
            {"mask_cam": {"layer": "last"}},
            "layer: expected one of 'final', 'auxiliary', got 'last'",
        ),
        ({"mask_cam": {"view": 1}}, "mask_cam: expected a CAM of view 2 .* got view 1"),
        ({"segmentation_cam": {"view": 2}}, "segmentation_cam: expected a CAM of view 1"),
        ({"segmentation_cam": {"view": 3}}, "view: expected 1 or 2, got 3"),
        ({"mask_cam": {"reuse": True}}, "view: the student's training forward of view 2 is masked"),
        ({"mask_cam": {"scales": ()}}, "scales: expected positive numbers"),
        ({"mask_cam": {"scales": (0.0,)}}, "scales: expected positive numbers"),
        ({"mask_cam": {"extra": (0.5,)}}, "extra: expected none without reuse=True"),
        (
            {"affinity_cam": {"reuse": True, "extra": (-0.5,)}},
            r"extra: expected positive numbers, got \(-0.5,\)",
        ),
        ({"total_steps": 0}, "total_steps: expected a positive integer, got 0"),
        ({"segmentation_from": 1.5}, r"segmentation_from: expected a number in \[0.0, 1.0\]"),
        ({"energy_weight": -1.0}, "energy_weight: expected"),
        ({"momentum": 1.1}, "momentum: expected"),
        ({"masking": "drop"}, "masking: expected one of 'exclude', 'scale', 'ignore', got 'drop'"),
        ({"mask_low": 0.7}, "mask_low: expected less than mask_high=0.7, got 0.7"),
        ({"pseudo_high": 0.2}, "pseudo_low: expected less than pseudo_high=0.2, got 0.25"),
    ],
)
def test_bad_values_raise_and_name_the_field(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_preset("reference", **overrides)


def test_bad_presets_raise() -> None:
    with pytest.raises(ValueError, match=r"preset: .*did you mean 'reference'"):
        get_preset("refrence")
    with pytest.raises(TypeError, match="preset: expected a name or a Preset, got int"):
        get_preset(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mask_cam: expected a CAMSource, got str"):
        get_preset("fast", mask_cam="student")
    with pytest.raises(TypeError, match="total_steps: expected a positive integer"):
        get_preset("fast", total_steps=0.5)
    with pytest.raises(ValueError, match="total_steps: expected a positive integer, got 0"):
        PRESETS["fast"].resolve(0)
