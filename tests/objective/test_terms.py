"""Terms over a step: each alone, of one's own, and what a step computes for them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr.losses import (
    DenseEnergyLoss,
    SelfReinforcementLoss,
    balanced_segmentation_loss,
    patch_token_contrast,
)
from fsr.objective import (
    Needs,
    ObjectiveOutput,
    Part,
    PixelLabels,
    Recipe,
    Step,
    TeacherTargets,
    Term,
    TokenLabels,
    TrainingObjective,
    Weighted,
    build_recipe,
    terms,
)
from fsr.objective._graph import with_all_parameters
from fsr.objective._networks import slices
from fsr.presets import LOSS_TERMS, PRESETS, CAMSource
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher
from tests.helpers import assert_same
from tests.objective.test_objective import (
    GRID,
    MEAN,
    NORMALISATION,
    RUN,
    SIZE,
    STD,
    _Passes,
    build,
    build_student,
    generator,
    run,
    views,
)

SINGLE = CAMSource(scales=(1.0,), flip=False)
REUSED = CAMSource(layer="auxiliary", reuse=True)
NO_TEACHER: dict[str, Any] = {"uncertain_weight": 0.0, "confident_weight": 0.0}


class TokenNorm(Term):
    """A term as a user writes one: the mean square of the final tokens of a view."""

    name = "token_norm"

    def __init__(self, view: int = 1) -> None:
        super().__init__()
        self.view = view

    def needs(self, number: int) -> Needs:
        return Needs(student={self.view: ("tokens",)})

    def forward(self, step: Step) -> Tensor:
        return step.student("tokens", self.view).square().mean()


class Half(Part):
    """A mask of one's own: the left half of a view."""

    def forward(self, step: Step) -> Tensor:
        mask = torch.zeros(len(step.labels), *step.grid, dtype=torch.bool)
        mask[..., : step.grid[1] // 2] = True
        return mask


def networks() -> tuple[SingleStageSegmenter, EMATeacher]:
    torch.manual_seed(1)
    student = build_student()
    teacher = EMATeacher(student, 0.9)
    with torch.no_grad():
        for parameter in teacher.module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return student, teacher


def step_of(term: Term, student: nn.Module, **options: Any) -> Step:
    view1, view2, labels = views()
    return Step((view1, view2), labels, 60, student=student, parts=[term], **options)


# -- each term alone ------------------------------------------------------------------------------


def test_classification_terms_alone() -> None:
    student, _ = networks()
    view1, view2, labels = views()
    whole = {1: student(view1), 2: student(view2)}
    for view, output in whole.items():
        for term, logits in (
            (terms.Classification(view), output.class_logits),
            (terms.AuxiliaryClassification(view), output.aux_class_logits),
        ):
            expected = F.multilabel_soft_margin_loss(logits, labels)
            torch.testing.assert_close(term(step_of(term, student)), expected)


def test_affinity_alone() -> None:
    student, _ = networks()
    view1, _, _ = views()
    term = terms.Affinity(TokenLabels(REUSED, low=0.3, high=0.6))
    step = step_of(term, student)
    value = term(step)
    found = step.seen["affinity_labels"]
    assert found.shape == (2, *GRID)
    assert set(found.unique().tolist()) <= {0, 1, 2, 3, 255}
    expected = patch_token_contrast(student(view1).tokens, found.flatten(1))
    torch.testing.assert_close(value, expected)


def test_segmentation_and_energy_alone_share_their_labels() -> None:
    student, _ = networks()
    view1, _, labels = views()
    made = []
    refine = PAR()

    def refinement(images: Tensor, masks: Tensor) -> Tensor:
        made.append(images)
        refined: Tensor = refine(images, masks)
        return refined

    pixels = PixelLabels(SINGLE, refinement=refinement)
    segmentation, energy = terms.Segmentation(pixels), terms.DenseEnergy(pixels)
    passes = _Passes(student)
    step = Step(
        (view1,),
        labels,
        student=student,
        parts=[segmentation, energy],
        pixels=lambda images: (images * STD + MEAN).clamp(0, 1),
    )
    values = segmentation(step), energy(step)
    assert len(made) == 1
    assert passes.seen == [(2, False), (2, True)]  # its own CAM pass, and the training forward
    logits, rgb = student(view1).segmentation, view1 * STD + MEAN
    found = step.seen["pseudo_labels"]
    torch.testing.assert_close(values[0], balanced_segmentation_loss(logits, found))
    torch.testing.assert_close(values[1], DenseEnergyLoss()(255 * rgb, logits, found))
    torch.testing.assert_close(step.seen["segmentation_logits"], logits)
    assert step.seen["cam"].shape == (2, 3, SIZE, SIZE)


def test_reinforcement_terms_alone_and_with_a_mask_of_ones_own() -> None:
    student, teacher = networks()
    view1, view2, _ = views()
    patches = TeacherTargets(8, "patches", view=2, temperature=0.05)
    aggregates = TeacherTargets(8, "aggregate", view=1, temperature=lambda step: step / 1200)
    uncertain = terms.UncertainReinforcement(patches, temperature=0.2)
    confident = terms.ConfidentReinforcement(aggregates, temperature=0.2)
    mask = Half()
    found = {
        term.name: term(step_of(term, student, teacher=teacher, masks={2: mask}))
        for term in (uncertain, confident)
    }
    hidden = torch.zeros(2, *GRID, dtype=torch.bool)
    hidden[..., :4] = True
    expected = SelfReinforcementLoss(8, student_temperature=0.2)(
        student(view2, hidden).projections,
        teacher(view1).projections,
        teacher(view2).projections,
        hidden.flatten(1),
        0.05,
    )
    torch.testing.assert_close(found["uncertain"], expected.uncertain)
    torch.testing.assert_close(found["confident"], expected.confident)


def test_recovery_without_a_mask_is_refused() -> None:
    student, teacher = networks()
    term = terms.UncertainReinforcement(TeacherTargets(8))
    with pytest.raises(ValueError, match="masks: expected one of view 2, which L_u recovers"):
        term(step_of(term, student, teacher=teacher))


def test_centres_move_once_all_terms_are_computed() -> None:
    student, teacher = networks()
    targets = TeacherTargets(8, center_momentum=0.5)
    terms_of = [terms.UncertainReinforcement(targets) for _ in range(2)]
    view1, view2, labels = views()
    step = Step(
        (view1, view2), labels, student=student, teacher=teacher, parts=terms_of, masks={2: Half()}
    )
    first, second = (term(step) for term in terms_of)
    assert torch.equal(first, second)
    assert not targets.center.value.any()
    step.finish()
    mean = teacher(view2).projections[:, 1:].mean((0, 1))
    torch.testing.assert_close(targets.center.value, 0.5 * mean)
    step.finish()  # nothing is left to do
    torch.testing.assert_close(targets.center.value, 0.5 * mean)


# -- a term of one's own --------------------------------------------------------------------------


def test_a_term_of_ones_own_joins_a_preset() -> None:
    student, teacher = networks()
    objective = TrainingObjective(
        student,
        teacher,
        preset="paper",
        terms=[Weighted(TokenNorm(), weight=0.5, start=0.3)],
        **(NORMALISATION | RUN),
    )
    plain = TrainingObjective(student, teacher, preset="paper", **(NORMALISATION | RUN))
    early, late = run(objective, 29), run(objective, 30)
    assert (early.weights["token_norm"], late.weights["token_norm"]) == (0.0, 0.5)
    assert early.token_norm.item() == 0
    view1, _, _ = views()
    expected = student(view1).tokens.square().mean()
    torch.testing.assert_close(late.token_norm, expected)
    run(plain, 29)  # centres move once in both
    torch.testing.assert_close(late.total, run(plain, 30).total + 0.5 * expected)
    assert tuple(late.terms()) == (*LOSS_TERMS, "token_norm")
    late.total.backward()


def test_a_recipe_of_ones_own_needs_no_preset_no_teacher_and_one_view() -> None:
    student, _ = networks()
    recipe = Recipe(
        "labels alone",
        {"classification": Weighted(terms.Classification())},
        total_steps=10,
    ).add(TokenNorm())
    objective = TrainingObjective(student, preset=recipe)
    passes = _Passes(student)
    view1, _, labels = views()
    output = objective(view1, None, labels, step=0)
    assert passes.seen == [(2, True)]
    expected = F.multilabel_soft_margin_loss(student(view1).class_logits, labels)
    expected = expected + student(view1).tokens.square().mean()
    torch.testing.assert_close(output.total, expected)
    output.total.backward()
    assert all(p.grad is not None for p in student.parameters() if p.requires_grad)
    assert objective.state_dict() == {}
    assert "preset='labels alone'" in repr(objective)


def test_objectives_of_one_recipe_share_no_state() -> None:
    student, teacher = networks()
    recipe = build_recipe(PRESETS["paper"], student, teacher)
    first, second = (TrainingObjective(student, teacher, preset=recipe) for _ in range(2))
    run(first, 60)
    assert all(not value.any() for value in second.state_dict().values())
    assert any(value.any() for value in first.state_dict().values())
    # Within one of them, mask and term follow the same targets.
    recipe = build_recipe(PRESETS["paper"], student, teacher)
    objective: Any = TrainingObjective(student, teacher, preset=recipe)
    assert objective.masks["2"].targets is objective.terms["uncertain"].targets


def test_a_recipe_gives_what_its_preset_gives_to_the_bit() -> None:
    objective = build("fast")
    student: Any = objective.student
    recipe = build_recipe(objective.preset, student, objective.teacher)
    twin = TrainingObjective(student, objective.teacher, preset=recipe, **NORMALISATION)
    assert_same(run(twin, 60), run(objective, 60))


# -- nothing is computed that no term reads -------------------------------------------------------


def heads_of(objective: TrainingObjective, step: int) -> dict[str, dict[str, Any]]:
    """The heads that a step computes of each network, with their rows of the joined batch."""
    seen: dict[str, dict[str, Any]] = {}
    pairs = {"student": objective.student}
    if objective.teacher is not None:
        pairs["teacher"] = objective.teacher.module
    hooks = []
    for name, network in pairs.items():

        def look(module: nn.Module, args: Any, kwargs: dict[str, Any], name: str = name) -> None:
            if isinstance(kwargs["outputs"], dict):  # CAM passes of their own name heads alone
                seen[name] = kwargs["outputs"]

        hooks.append(network.register_forward_pre_hook(look, with_kwargs=True))
    run(objective, step)
    for hook in hooks:
        hook.remove()
    return seen


def test_before_its_phase_a_head_is_not_computed() -> None:
    first, second = slice(0, 2), slice(2, 4)
    objective = build("reference")
    early, late = heads_of(objective, 0), heads_of(objective, 60)
    assert early["student"] == {
        "class_logits": first,
        "aux_class_logits": first,
        "projections": second,
    }
    assert late["student"] == early["student"] | {"segmentation": first, "tokens": first}
    assert early["teacher"] == late["teacher"] == {"projections": slice(0, 4)}
    # Random masks read no CAM of the teacher, nor do its tokens cost anything.
    assert heads_of(build("fast"), 0)["teacher"] == {"projections": slice(0, 4)}
    assert heads_of(build("fast"), 60)["teacher"] == {
        "aux_tokens": second,
        "projections": slice(0, 4),
    }


def test_without_self_reinforcement_one_view_is_all() -> None:
    objective = build("reference", **NO_TEACHER)
    passes = _Passes(objective.student)
    output = run(objective, 5)
    assert passes.seen == [(2, True)]
    assert not output.mask.any()
    assert output.mask.shape == (2, *GRID)
    student: Any = objective.student
    view1, _, labels = views()
    alone = TrainingObjective(student, preset="reference", **(NORMALISATION | RUN | NO_TEACHER))
    torch.manual_seed(3)
    assert_same(alone(view1, None, labels, step=60), run(objective, 60))


def test_one_of_the_two_reinforcement_terms_looks_at_one_view_of_the_teachers() -> None:
    for weights, rows in (
        ({"uncertain_weight": 0.0}, [(2, False)]),
        ({"confident_weight": 0.0}, [(2, False)]),
        ({}, [(4, False)]),
    ):
        objective = build("reference", **weights)
        assert objective.teacher is not None
        passes = _Passes(objective.teacher.module)
        run(objective, 0)
        assert passes.seen == rows


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_term_of_weight_0_is_never_called(weight: float) -> None:
    class Counting(TokenNorm):
        calls = 0

        def forward(self, step: Step) -> Tensor:
            type(self).calls += 1
            return super().forward(step)

    student, teacher = networks()
    term = Counting(view=2)
    objective = TrainingObjective(
        student, teacher, preset="paper", terms=[Weighted(term, weight)], **RUN
    )
    run(objective, 60)
    assert Counting.calls == weight


# -- what is missing is named ---------------------------------------------------------------------


def test_a_missing_teacher_is_named_at_construction() -> None:
    student, _ = networks()
    with pytest.raises(ValueError, match=r"teacher: expected EMATeacher.*term 'uncertain' reads"):
        TrainingObjective(student, preset="fast")
    teachers = {"network": "teacher", "scales": (1.0,), "flip": False}
    with pytest.raises(ValueError, match=r"teacher: expected .* the term 'affinity' reads"):
        TrainingObjective(student, preset="fast", affinity_cam=teachers, **NO_TEACHER)
    # Of weight 0 it is not needed.
    TrainingObjective(student, preset="fast", **NO_TEACHER)


def test_a_missing_view_is_named() -> None:
    view1, _, labels = views()
    with pytest.raises(ValueError, match=r"views: expected one for each .*\[1, 2\], got 1;"):
        build("reference")(view1, None, labels, step=0)


def test_what_no_part_needs_is_not_handed_out() -> None:
    student, teacher = networks()
    step = step_of(terms.Classification(), student, teacher=teacher)
    with pytest.raises(ValueError, match=r"student: expected a head .* got 'tokens' of view 1"):
        step.student("tokens", view=1)
    with pytest.raises(ValueError, match=r"teacher: expected a head .* got 'tokens' of view 1"):
        step.teacher("tokens", view=1)
    with pytest.raises(ValueError, match="source: expected one that a part of the step needs"):
        step.cam(SINGLE)
    with pytest.raises(ValueError, match="teacher: expected EMATeacher"):
        step_of(terms.ConfidentReinforcement(TeacherTargets(8, "aggregate", view=1)), student)
    with pytest.raises(TypeError, match="student: expected a SingleStageSegmenter, got Linear"):
        step_of(terms.Classification(), nn.Linear(2, 2))


def test_bad_recipes_are_refused() -> None:
    student, teacher = networks()
    with pytest.raises(ValueError, match=r"terms: expected a name .* none of class.*'classific"):
        TrainingObjective(student, teacher, terms=[terms.Classification()])
    with pytest.raises(ValueError, match=r"terms: expected a name that is an identifier.*got ''"):
        TrainingObjective(student, teacher, terms=[Term()])
    with pytest.raises(TypeError, match="term: expected a Term, got Linear"):
        Weighted(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"start: expected a number in \[0.0, 1.0\], got 2"):
        Weighted(TokenNorm(), start=2.0)
    with pytest.raises(ValueError, match=r"weight: expected a number in \(-inf, inf\), got nan"):
        Weighted(TokenNorm(), weight=float("nan"))
    with pytest.raises(ValueError, match="total_steps: expected a positive integer, got 0"):
        Recipe("none", {}, total_steps=0)
    with pytest.raises(ValueError, match=r"preset: a Recipe has no fields to change.*mask_ratio"):
        TrainingObjective(student, preset=Recipe("none", {}), mask_ratio=0.5)
    with pytest.raises(TypeError, match="preset: expected a name, a Preset or a Recipe, got int"):
        build_recipe(3, student, teacher)
    with pytest.raises(ValueError, match=r"student: expected names of heads, got 'tokens'"):
        Needs(student={1: "tokens"})  # type: ignore[dict-item]
    with pytest.raises(NotImplementedError, match=r"Part: expected a method forward\(step\)"):
        step_of(terms.Classification(), student).get(Part())
    with pytest.raises(ValueError, match="rows: expected one of 'aggregate', 'patches', got 'all'"):
        TeacherTargets(8, "all")  # type: ignore[arg-type]
    objective: Any = TrainingObjective(student, teacher, preset="paper", **RUN)
    objective.terms["affinity"] = nn.Linear(1, 1)
    with pytest.raises(TypeError, match=r"terms\['affinity'\]: expected a Term, got Linear"):
        run(objective, 60)


# -- the pieces -----------------------------------------------------------------------------------


def test_needs_join_and_follow_reused_cams() -> None:
    source = CAMSource(network="teacher", view=2, reuse=True)
    joined = Needs(student={2: ("projections",)}, cams=(source,)) | Needs(cams=(REUSED, source))
    assert joined.cams == (source, REUSED)
    whole = joined.complete()
    assert whole.student == {1: ("aux_tokens",), 2: ("projections",)}
    assert whole.teacher == {2: ("tokens",)}
    assert whole.views == {1, 2}
    assert whole.of_teacher
    assert not Needs(student={1: ("tokens",)}, cams=(SINGLE,)).of_teacher


def test_rows_of_the_joined_batch() -> None:
    assert slices({2: ("tokens",), 5: ("projections",)}, 3) == {
        "tokens": slice(0, 3),
        "projections": slice(3, 6),
    }
    assert slices({1: ("tokens",), 2: (), 3: ("tokens",)}, 2) == {"tokens": slice(0, 6)}


def test_a_head_of_two_views_is_split() -> None:
    student, _ = networks()
    first, second = TokenNorm(1), TokenNorm(2)
    view1, view2, labels = views()
    step = Step((view1, view2), labels, student=student, parts=[first, second])
    for term, view in ((first, view1), (second, view2)):
        torch.testing.assert_close(term(step), student(view).tokens.square().mean())


def test_parameters_out_of_reach_get_zeros_whatever_they_hold() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    with torch.no_grad():
        layers[1].weight.fill_(float("nan"))
    loss = layers[0](torch.ones(1, 2)).sum()
    whole = with_all_parameters(loss, layers)
    assert torch.equal(whole, loss)
    whole.backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in layers[1].parameters())
    # Nothing is added where nothing is missing.
    assert with_all_parameters(loss, layers[0]) is loss


def test_states_of_the_release_before_load() -> None:
    objective = build("fast")
    run(objective, 0)
    state = objective.state_dict()
    old = {
        "reinforcement.class_center.value": state["terms.confident.targets.center.value"],
        "reinforcement.patch_center.value": state["terms.uncertain.targets.center.value"],
    }
    twin = build("fast")
    twin.load_state_dict(old, strict=True)
    assert_same(twin.state_dict(), state)


def test_the_output_prints_shapes_and_survives_a_copy() -> None:
    output = run(build("fast"), 60)
    text = repr(output)
    assert "mask=Tensor(2, 8, 8; bool)" in text
    assert "pseudo_labels=Tensor(2, 64, 64; int64)" in text
    assert "tensor(" not in text
    assert f"total={output.total.item():.4g}" in text
    with torch.no_grad():
        plain = output._replace(total=output.total.detach(), affinity=torch.tensor(7.0))
    assert plain.affinity.item() == 7
    assert plain.terms()["affinity"].item() == 7
    detached = ObjectiveOutput(
        plain.total, {}, {}, {"mask": output.mask}, output.image_size, output.grid, output.images
    )
    assert_same(copy.deepcopy(detached), detached)
    assert_same(pickle.loads(pickle.dumps(detached)), detached)
    with pytest.raises(AttributeError, match="the output has no 'segmentatoin'; it has class"):
        output.segmentatoin  # noqa: B018


def test_generators_are_for_masks_alone() -> None:
    objective = build("paper").eval()
    first = objective(*views(), step=60, generator=generator(1))
    second = objective(*views(), step=60, generator=generator(2))
    assert torch.equal(first.segmentation, second.segmentation)
    assert not torch.equal(first.uncertain, second.uncertain)
