"""Switches of the objective that are not in the paper: off by default, and what each changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fsr import schedules
from fsr.cam import cam_to_labels
from fsr.losses import label_boundary, teacher_distribution, uncertain_loss
from fsr.masking import UncertainMasker, mask_count, token_entropy
from fsr.objective import PatchMask, TrainingObjective
from fsr.presets import PRESETS, get_preset
from fsr.teacher import EMATeacher
from tests.helpers import assert_same
from tests.objective.test_objective import (
    GRID,
    NORMALISATION,
    RUN,
    batch,
    build,
    build_student,
    center,
    generator,
    mask_strategy,
    patch_cam,
    run,
    views,
)

OFF: dict[str, Any] = {
    "mask_thresholds": "fixed",
    "mask_ratio_start": None,
    "uncertain_boundary_weight": 0.0,
    "refine_labels": True,
}
SWITCHES: list[dict[str, Any]] = [
    {"mask_strategy": "entropy"},
    {"mask_thresholds": "otsu"},
    {"mask_ratio_start": 0.1},
    {"uncertain_boundary_weight": 1.0},
    {"refine_labels": False},
    {"mask_strategy": "entropy", "mask_ratio_start": 0.1, "mask_block": 1},
    {"mask_strategy": "strict", "mask_thresholds": "otsu", "mask_block": 1},
]


def ids(switch: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in switch.items())


def single_scale(**changes: Any) -> dict[str, Any]:
    """Changes of a preset with which its own CAM passes cost one forward each."""
    cheap = {"scales": (1.0,), "flip": False}
    return dict.fromkeys(("mask_cam", "segmentation_cam", "affinity_cam"), cheap) | changes


# -- off by default -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_every_switch_is_off_in_every_preset(preset: Any) -> None:
    assert {name: getattr(preset, name) for name in OFF} == OFF
    assert preset.mask_strategy == "uncertain"
    assert preset.mask_ratio_schedule() == schedules.constant(0.4)


@pytest.mark.parametrize("preset", PRESETS)
def test_while_off_nothing_of_them_runs(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("called while its switch is off")

    monkeypatch.setattr("fsr.objective._mask.token_entropy", unexpected)
    monkeypatch.setattr("fsr.objective.terms._uncertain.boundary_weights", unexpected)
    monkeypatch.setattr("fsr.masking._masker.otsu_thresholds", unexpected)
    monkeypatch.setattr("fsr.masking._masker.entropy_soft_mask", unexpected)
    for step in (0, 60):
        run(build(preset, **single_scale()), step)


@pytest.mark.parametrize("step", [0, 60])
def test_off_spelled_out_is_the_default_to_the_bit(step: int) -> None:
    torch.manual_seed(5)
    objective = build("fast")
    twin = TrainingObjective(
        objective.student, objective.teacher, preset="fast", **(NORMALISATION | RUN | OFF)
    )
    assert_same(run(twin, step), run(objective, step))


# -- entropy --------------------------------------------------------------------------------------


def entropy_by_loops(objective: TrainingObjective, view2: Tensor, step: int) -> Tensor:
    """Entropy of P of every patch of view 2, token by token, in double precision."""
    with torch.no_grad():
        projections = objective.teacher.module(view2).projections[:, 1:].double()
    own = center(objective, "uncertain").value.double()
    temperature = objective.preset.temperature_schedule()(step)
    found = torch.zeros(projections.shape[:2], dtype=torch.float64)
    for b in range(projections.shape[0]):
        for i in range(projections.shape[1]):
            logits = (projections[b, i] - own) / temperature
            weights = (logits - logits.max()).exp()
            distribution = weights / weights.sum()
            found[b, i] = -(distribution * distribution.clamp(min=1e-300).log()).sum()
    return found.view(-1, *GRID)


@pytest.mark.parametrize(("preset", "block"), [("paper", 1), ("fast", 2)])
def test_the_mask_follows_the_teachers_entropy_on_view_2(preset: str, block: int) -> None:
    objective = build(preset, mask_strategy="entropy", mask_block=block)
    center(objective, "uncertain").value.normal_()
    view1, view2, labels = views()
    entropy = entropy_by_loops(objective, view2, 60)
    output = objective(view1, view2, labels, step=60, generator=generator())
    rounding = "floor" if preset == "paper" else "ceil"
    masker = UncertainMasker(0.4, strategy="entropy", block=block, rounding=rounding)
    expected = masker(torch.zeros(2, 1, *GRID), entropy=entropy, generator=generator())
    assert output.mask_strategy == "entropy"
    assert torch.equal(output.mask, expected)
    assert output.mask.flatten(1).sum(1).tolist() == [expected[0].sum().item()] * 2
    uncertain = build(preset, mask_block=block)
    assert not torch.equal(run(uncertain, 60).mask, output.mask)


def test_the_entropy_is_that_of_the_distribution_that_eq_8_takes_as_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, seen = build("fast", mask_strategy="entropy"), []
    center(objective, "uncertain").value.normal_()
    before = center(objective, "uncertain").value.clone()

    def entropy(target: Tensor) -> Tensor:
        seen.append(target)
        return token_entropy(target)

    monkeypatch.setattr("fsr.objective._mask.token_entropy", entropy)
    output = run(objective, 60)
    _, view2, _ = views()
    projections = objective.teacher.module(view2).projections
    target = teacher_distribution(projections[:, 1:], before, output.teacher_temperature)
    torch.testing.assert_close(seen, [target])
    # The centre moves once, when both have read the targets.
    moved = 0.9 * before + 0.1 * projections[:, 1:].mean((0, 1))
    torch.testing.assert_close(center(objective, "uncertain").value, moved)


def test_entropy_costs_no_pass_and_reads_no_cam() -> None:
    seen: list[tuple[str, int]] = []
    objective = build("reference", mask_strategy="entropy", **single_scale())
    networks = {"student": objective.student, "teacher": objective.teacher.module}
    for name, network in networks.items():
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen.append((name, args[0].shape[0]))
        )
    run(objective, 60)
    # The teacher's pass and the student's, and one for the CAMs of view 1; none of view 2.
    assert sorted(seen) == [("student", 2), ("student", 4), ("teacher", 4)]


def test_masks_are_random_until_the_teacher_is_sound() -> None:
    objective = build("reference", mask_strategy="entropy")  # momentum 0.9: sound from step 31 on
    assert [mask_strategy(objective, step) for step in (19, 20, 30, 31)] == [
        "random",
        "random",
        "random",
        "entropy",
    ]
    slow = build("paper", mask_strategy="entropy", teacher_momentum=0.9995)
    assert mask_strategy(slow, 99) == "random"
    late = build("reference", mask_strategy="entropy", random_mask_until=0.5)
    assert [mask_strategy(late, step) for step in (49, 50)] == ["random", "entropy"]


def test_the_presets_steps_wait_for_the_teacher() -> None:
    options = {"total_steps": 1000, "momentum": 0.98, "final_momentum": 0.98}
    steps = get_preset("paper", mask_strategy="entropy", **options).resolve()
    assert steps["random_mask_until"] == steps["teacher_source_from"] == 151
    assert steps["segmentation_from"] == 0


def test_one_reinforcement_term_is_enough_and_none_is_refused() -> None:
    for weights in ({"uncertain_weight": 0.0}, {"confident_weight": 0.0}):
        assert run(build("fast", mask_strategy="entropy", **weights), 60).mask.any()
    with pytest.raises(ValueError, match=r"mask_strategy: 'entropy' .* got 0 for both"):
        get_preset("fast", mask_strategy="entropy", uncertain_weight=0.0, confident_weight=0)


def test_an_entropy_mask_without_targets_is_refused() -> None:
    masker = UncertainMasker(strategy="entropy")
    with pytest.raises(ValueError, match=r"targets: expected the teacher's, .*'entropy' reads"):
        PatchMask(masker, get_preset("fast").mask_cam)


# -- otsu -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_the_zone_follows_the_thresholds_of_the_cam_of_view_2(preset: str) -> None:
    objective = build(preset, mask_thresholds="otsu", mask_strategy="strict", mask_block=1)
    view1, view2, labels = views()
    student: Any = objective.student
    if preset == "paper":
        cam = patch_cam(student(view2).tokens, student.classifier)
    else:
        cam = student.cam(view2)[1]
    mask = objective(view1, view2, labels, step=60, generator=generator()).mask
    expected = UncertainMasker(strategy="strict", thresholds="otsu")(cam, labels, grid=GRID)
    assert torch.equal(mask, expected)
    assert not torch.equal(mask, UncertainMasker(strategy="strict")(cam, labels, grid=GRID))


def test_the_random_phase_does_not_see_the_thresholds() -> None:
    assert_same(run(build("reference", mask_thresholds="otsu"), 5).mask, run(build(), 5).mask)


# -- the ratio's schedule -------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end", "total"), [(0.1, 0.4, 7), (0.8, 0.3, 100), (0.5, 0.6, 2)])
def test_the_ratio_goes_in_a_straight_line_to_the_last_step(
    start: float, end: float, total: int
) -> None:
    options = {"mask_ratio": end, "mask_ratio_start": start, "total_steps": total}
    ratio = get_preset("fast", **options).mask_ratio_schedule()
    for step in range(total):
        expected = start + (end - start) * step / (total - 1)
        assert ratio(step) == pytest.approx(expected, rel=1e-12)
    assert (ratio(0), ratio(total - 1), ratio(10 * total)) == (start, end, end)


def test_a_start_at_the_ratio_is_no_schedule_at_all() -> None:
    preset = get_preset("fast", mask_ratio=0.29, mask_ratio_start=0.29)
    assert preset.mask_ratio_schedule() == schedules.constant(0.29)


def test_a_run_of_one_step_has_the_ratio_of_its_start() -> None:
    assert get_preset("fast", mask_ratio_start=0.1, total_steps=1).mask_ratio_schedule()(0) == 0.1


@pytest.mark.parametrize("strategy", ["uncertain", "entropy"])
def test_each_step_masks_its_own_share_in_every_phase(strategy: str) -> None:
    objective = build("paper", mask_ratio_start=0.1, random_mask_until=0.2, mask_strategy=strategy)
    found = {}
    for step in (0, 10, 50, 99):
        output = run(objective, step)
        found[step] = output.mask_strategy
        count = mask_count(0.1 + 0.3 * step / 99, 64)
        assert output.mask.flatten(1).sum(1).tolist() == [count, count]
    assert list(found.values()) == ["random", "random", strategy, strategy]


def test_the_schedule_ends_at_the_mask_of_the_constant_ratio() -> None:
    objective = build("fast", mask_ratio_start=0.1)
    constant = TrainingObjective(
        objective.student, objective.teacher, preset="fast", **(NORMALISATION | RUN)
    )
    assert torch.equal(run(objective, 99).mask, run(constant, 99).mask)
    assert not torch.equal(run(objective, 40).mask, run(constant, 40).mask)


# -- boundaries -----------------------------------------------------------------------------------


def test_masked_tokens_on_a_boundary_of_the_labels_of_view_2_weigh_more() -> None:
    objective = build("paper", uncertain_boundary_weight=1.5)
    student, teacher = copy.deepcopy(objective.student), copy.deepcopy(objective.teacher.module)
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())
    cam = patch_cam(student(view2).tokens, student.classifier)
    token_labels = cam_to_labels(cam, labels, low=0.25, high=0.7)
    weights = 1 + 1.5 * label_boundary(token_labels).flatten(1).float()
    assert set(weights.unique().tolist()) == {1.0, 2.5}
    target = (teacher(view2).projections[:, 1:] / output.teacher_temperature).softmax(dim=-1)
    expected = uncertain_loss(
        student(view2, output.mask).projections[:, 1:],
        target,
        output.mask.flatten(1),
        weights=weights,
    )
    torch.testing.assert_close(output.uncertain, expected, rtol=1e-4, atol=1e-6)
    plain = build("paper")
    plain.student.load_state_dict(objective.student.state_dict())
    plain.teacher.load_state_dict(objective.teacher.state_dict())
    other = plain(view1, view2, labels, step=60, generator=generator())
    assert torch.equal(other.mask, output.mask)
    assert torch.equal(other.confident, output.confident)
    assert not torch.equal(other.uncertain, output.uncertain)


def test_boundaries_wait_for_the_end_of_the_random_phase_and_for_a_teacher_that_is_read() -> None:
    options = {"uncertain_boundary_weight": 1.0, "mask_strategy": "random"}
    early, late = build("fast", **options), build("fast", mask_strategy="random")
    early_steps, late_steps = (
        each.preset.resolve(momentum=each.teacher.momentum) for each in (early, late)
    )
    assert early_steps["random_mask_until"] == 31  # the teacher is sound from there on
    assert late_steps["random_mask_until"] == 20
    late.student.load_state_dict(early.student.state_dict())
    late.teacher.load_state_dict(early.teacher.state_dict())
    assert torch.equal(run(early, 30).uncertain, run(late, 30).uncertain)
    assert not torch.equal(run(early, 31).uncertain, run(late, 31).uncertain)


def test_without_self_reinforcement_no_boundary_is_sought() -> None:
    weights = {"uncertain_weight": 0.0, "confident_weight": 0.0}
    output = run(build("fast", uncertain_boundary_weight=1.0, **weights), 60)
    assert output.uncertain.item() == 0


# -- labels as they are ---------------------------------------------------------------------------


def test_without_refinement_the_labels_are_the_thresholded_cam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refined, plain = build("reference"), build("reference", refine_labels=False)
    for part in ("student", "teacher"):
        getattr(plain, part).load_state_dict(getattr(refined, part).state_dict())
    filtered = run(refined, 60).pseudo_labels
    monkeypatch.setattr("fsr.refine.PAR.forward", None)
    output = run(plain, 60)
    assert not torch.equal(output.pseudo_labels, filtered)
    assert output.cam is not None
    _, _, labels = views()
    found = set()
    for cam, present, label in zip(output.cam, labels, output.pseudo_labels, strict=True):
        half = F.interpolate(cam[None, present > 0], scale_factor=0.5, mode="bilinear")
        won = {}
        for level in (plain.preset.pseudo_low, plain.preset.pseudo_high):
            scores = torch.cat([torch.full_like(half[:, :1], level), half], dim=1).softmax(1)
            sized = F.interpolate(scores, label.shape, mode="bilinear")
            names = torch.cat([torch.zeros(1), present.nonzero()[:, 0] + 1])
            won[level] = names[sized.argmax(1)[0]].long()
        lenient, strict = won.values()
        unknown = (strict == 0) & (lenient != 0)
        assert torch.equal(label, torch.where(unknown, 255, strict))
        found |= set(label.unique().tolist())
    assert len(found) > 1


# -- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_a_step_trains_every_parameter(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch)
    for step in (0, 60):
        output = run(objective, step)
        assert all(bool(torch.isfinite(value)) for value in output.terms().values())
        assert not output.mask.requires_grad
        output.total.backward()
    trainable = [p for p in objective.student.parameters() if p.requires_grad]
    assert all(parameter.grad is not None for parameter in trainable)
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_a_generator_makes_a_step_repeatable(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch).eval()
    state = torch.random.get_rng_state()
    first, second = (objective(*views(), step=60, generator=generator(1)) for _ in range(2))
    assert_same(first, second)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_float64_and_autocast(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(objective, 60)
    assert half.total.dtype == torch.float32
    assert bool(torch.isfinite(half.total))
    half.total.backward()
    objective.student.double()
    objective.teacher.double()
    torch.manual_seed(3)
    output = run(objective, 60, views=batch(dtype=torch.float64))
    assert output.total.dtype == torch.float64
    assert half.mask.shape == output.mask.shape


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_an_image_without_any_class_and_non_square_views_work(switch: dict[str, Any]) -> None:
    view1, view2, labels = views()
    labels[1] = 0.0
    objective = build("fast", **(switch | {"mask_block": 1}))
    output = run(objective, 60, views=(view1[..., :48], view2[..., :48], labels))
    assert output.mask.shape == (2, 8, 6)
    output.total.backward()


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_a_copy_after_a_step_and_the_state_do_not_know_the_switch(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch)
    run(objective, 0)
    twin = copy.deepcopy(objective)
    assert_same(run(twin, 60), run(objective, 60))
    plain = TrainingObjective(
        objective.student, objective.teacher, preset="fast", **(NORMALISATION | RUN)
    )
    plain.load_state_dict(objective.state_dict(), strict=True)


def test_the_step_runs_on_this_device(device: torch.device) -> None:
    for switch in SWITCHES:
        objective = build("fast", **switch)
        objective.student.to(device)
        objective.teacher.to(device)
        output = run(objective, 60, views=[tensor.to(device) for tensor in batch()])
        assert output.mask.device.type == device.type


def test_a_compiled_student_gives_the_same_mask() -> None:
    student = build_student()
    teacher = EMATeacher(student, 0.9)
    options = NORMALISATION | RUN | {"preset": "fast", "mask_strategy": "entropy"}
    plain = TrainingObjective(student, teacher, **options)
    compiled = TrainingObjective(torch.compile(student, backend="eager"), teacher, **options)
    assert torch.equal(run(compiled, 60).mask, run(plain, 60).mask)


# -- the preset -----------------------------------------------------------------------------------


def test_the_description_shows_the_switches() -> None:
    text = str(get_preset("fast", mask_thresholds="otsu", mask_ratio_start=0.15))
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["mask_thresholds"] == ["otsu"]
    assert lines["mask_ratio_start"] == ["0.15"]
    assert lines["mask_strategy"] == ["uncertain"]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            {"mask_strategy": "entropie"},
            ValueError,
            r"mask_strategy: expected one of .* \(did you mean 'entropy'\?\)",
        ),
        (
            {"mask_thresholds": "otso"},
            ValueError,
            r"mask_thresholds: expected one of 'fixed', 'ots",
        ),
        ({"mask_thresholds": None}, ValueError, r"mask_thresholds: expected one of .* got None"),
        ({"mask_ratio_start": 0.0}, ValueError, r"mask_ratio_start: expected a number in \(0.0, 1"),
        ({"mask_ratio_start": 1.0}, ValueError, r"mask_ratio_start: expected .* got 1.0"),
        (
            {"mask_ratio_start": "0.1"},
            TypeError,
            r"mask_ratio_start: expected a number in .*, got '0.1'",
        ),
        (
            {"mask_ratio": 1.0},
            ValueError,
            r"mask_ratio: expected a number in \(0.0, 1.0\), got 1.0",
        ),
        (
            {"uncertain_boundary_weight": -0.5},
            ValueError,
            r"uncertain_boundary_weight: expected a number in \[0.0, inf\), got -0.5",
        ),
        ({"refine_labels": "no"}, TypeError, r"refine_labels: expected True or False, got str"),
        ({"mask_ratio": None}, TypeError, r"mask_ratio: expected a number in .*, got None"),
    ],
)
def test_bad_values_raise_and_name_the_field(
    overrides: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        get_preset("reference", **overrides)
    with pytest.raises(error, match=message):
        replace(PRESETS["fast"], **overrides)
