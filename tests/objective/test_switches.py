"""Further switches of a preset, each with one step through the objective and its term alone."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from fsr.backbone import ViTBackbone
from fsr.cam import affinity_cam, cam_to_labels, mixture_thresholds, resize_cam
from fsr.losses import (
    REGRESSION_FORMS,
    cam_consistency_loss,
    regression_loss,
    relation_loss,
)
from fsr.objective import PixelLabels, TokenLabels, TrainingObjective, terms
from fsr.presets import CAMSource
from fsr.refine import PAR, pseudo_labels
from fsr.teacher import EMATeacher
from tests.helpers import assert_same
from tests.objective.test_objective import (
    GRID,
    MEAN,
    NORMALISATION,
    RUN,
    STD,
    _Passes,
    batch,
    build,
    build_student,
    generator,
    patch_cam,
    run,
    views,
)
from tests.objective.test_terms import Half, networks, step_of
from tests.presets.test_switches import OFF
from tests.processes import run_together

SWITCHES: list[dict[str, Any]] = [
    *({"uncertain_form": form} for form in REGRESSION_FORMS),
    {"cam_consistency_weight": 0.05},
    {"pseudo_thresholds": "mixture", "uncertain_boundary_weight": 1.0},
    {"cam_affinity": 2},
    {"relations_weight": 1.0, "relations_backbone": "fsr_scenes_tiny"},
]


def ids(switch: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in switch.items())


# -- all of them ----------------------------------------------------------------------------------


def test_off_spelled_out_is_the_default_to_the_bit() -> None:
    torch.manual_seed(5)
    objective = build("fast")
    twin = TrainingObjective(
        objective.student, objective.teacher, preset="fast", **(NORMALISATION | RUN | OFF)
    )
    assert twin.recipe.names == objective.recipe.names
    assert_same(run(twin, 60), run(objective, 60))


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_a_step_trains_every_parameter(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch)
    for step in (0, 60):
        output = run(objective, step)
        assert all(bool(torch.isfinite(value)) for value in output.terms().values())
        output.total.backward()
    trainable = [p for p in objective.student.parameters() if p.requires_grad]
    assert all(parameter.grad is not None for parameter in trainable)
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_float64_autocast_and_non_square_views_of_an_image_without_a_class(
    switch: dict[str, Any],
) -> None:
    objective = build("fast", mask_block=1, **switch)
    view1, view2, labels = views()
    labels[1] = 0.0
    with torch.autocast("cpu", torch.bfloat16):
        half = run(objective, 60, views=(view1[..., :48], view2[..., :48], labels))
    assert half.total.dtype == torch.float32
    half.total.backward()
    assert bool(torch.isfinite(half.total))
    objective.student.double()
    objective.teacher.double()
    torch.manual_seed(3)
    assert run(objective, 60, views=batch(dtype=torch.float64)).total.dtype == torch.float64


@pytest.mark.parametrize("switch", SWITCHES, ids=ids)
def test_a_copy_and_a_state_give_the_same_step(switch: dict[str, Any]) -> None:
    objective = build("fast", **switch)
    run(objective, 0)
    twin = copy.deepcopy(objective)
    fresh = TrainingObjective(
        twin.student, twin.teacher, preset="fast", **(NORMALISATION | RUN | switch)
    )
    fresh.load_state_dict(objective.state_dict(), strict=True)
    expected = run(objective, 60)
    assert_same(run(twin, 60), expected)
    fresh.student.load_state_dict(objective.student.state_dict())
    assert_same(run(fresh, 60), expected)


def test_the_steps_run_on_this_device(device: torch.device) -> None:
    for switch in SWITCHES:
        objective = build("fast", **switch)
        objective.student.to(device)
        objective.teacher.to(device)
        output = run(objective, 60, views=[tensor.to(device) for tensor in batch()])
        assert output.total.device.type == device.type


# -- tokens instead of prototypes -----------------------------------------------------------------


@pytest.mark.parametrize("form", REGRESSION_FORMS)
def test_the_regression_takes_the_place_of_eq_8(form: Any) -> None:
    objective = build("reference", uncertain_form=form)
    student, teacher = copy.deepcopy(objective.student), copy.deepcopy(objective.teacher.module)
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())
    expected = regression_loss(
        student(view2, output.mask).tokens,
        teacher(view2).tokens,
        output.mask.flatten(1),
        form,
    )
    torch.testing.assert_close(output.uncertain, expected)
    plain = build("reference")
    plain.student.load_state_dict(student.state_dict())
    plain.teacher.module.load_state_dict(teacher.state_dict())
    other = plain(view1, view2, labels, step=60, generator=generator())
    assert objective.recipe.names == plain.recipe.names
    same = {name for name in other.values if torch.equal(other.values[name], output.values[name])}
    assert same == set(other.values) - {"uncertain"}
    assert output.weights["uncertain"] == 0.1


def test_the_regression_reads_no_projections_and_has_no_state() -> None:
    objective = build("fast", uncertain_form="cosine", confident_weight=0.0)
    objective.student.projector.forward = None
    objective.teacher.module.projector.forward = None
    output = run(objective, 60)
    assert output.uncertain.item() > 0
    assert not [name for name in objective.state_dict() if name.startswith("terms.uncertain")]
    assert "patches_nats" not in output.seen


def test_the_regression_alone_needs_a_mask() -> None:
    student, teacher = networks()
    term = terms.RegressionReinforcement("smooth_l1", view=1)
    step = step_of(term, student, teacher=teacher, masks={1: Half()})
    view1, _, _ = views()
    mask = step.mask(1)
    assert mask is not None
    expected = regression_loss(
        student(view1, mask).tokens, teacher(view1).tokens, mask.flatten(1), "smooth_l1"
    )
    torch.testing.assert_close(term(step), expected)
    with pytest.raises(ValueError, match="masks: expected one of view 1, which is recovered"):
        term(step_of(term, student, teacher=teacher))


# -- the teacher's CAM as target ------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "reference", "fast"])
def test_the_students_cam_follows_the_teachers_of_the_same_view(preset: str) -> None:
    objective = build(preset, cam_consistency_weight=0.05)
    student, teacher = copy.deepcopy(objective.student), copy.deepcopy(objective.teacher.module)
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())
    scores = torch.einsum(
        "bnd,cd->bcn", student(view1).tokens, student.classifier.weight.flatten(1)
    ).unflatten(2, GRID)
    target = patch_cam(teacher(view1).tokens, teacher.classifier)
    expected = cam_consistency_loss(scores, target, labels)
    assert expected.item() > 0
    torch.testing.assert_close(output.cam_consistency, expected, rtol=1e-4, atol=1e-6)
    assert output.weights["cam_consistency"] == 0.05
    # All else is as it was, and the total is the sum.
    plain = build(preset)
    plain.student.load_state_dict(student.state_dict())
    plain.teacher.module.load_state_dict(teacher.state_dict())
    other = plain(view1, view2, labels, step=60, generator=generator())
    assert all(torch.equal(output.values[name], value) for name, value in other.values.items())
    torch.testing.assert_close(output.total, other.total + 0.05 * output.cam_consistency)


def test_it_waits_for_the_teacher_and_costs_no_pass() -> None:
    objective = build("fast", cam_consistency_weight=0.05)
    assert run(objective, 30).cam_consistency.item() == 0
    student, teacher = _Passes(objective.student), _Passes(objective.teacher.module)
    assert run(objective, 31).cam_consistency.item() > 0
    assert [images for images, training in student.seen if training] == [4]
    assert teacher.seen == [(4, False)] * 2  # and the mask's at half the size


def test_it_trains_the_encoder_and_the_classifier() -> None:
    student, teacher = networks()
    term = terms.CamConsistency()
    term(step_of(term, student, teacher=teacher)).backward()
    for weight in (student.classifier.weight, student.backbone.model.blocks[0].attn.qkv.weight):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    assert student.aux_classifier.weight.grad is None
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_auxiliary_cam_alone_reads_no_final_token() -> None:
    student, teacher = networks()
    source = CAMSource("teacher", "auxiliary", 2, scales=(1.0,), flip=False)
    term = terms.CamConsistency(source)
    _, view2, labels = views()
    step = step_of(term, student, teacher=teacher)
    assert step.needs.student == {2: ("aux_tokens",)}
    scores = torch.einsum(
        "bnd,cd->bcn", student(view2).aux_tokens, student.aux_classifier.weight.flatten(1)
    ).unflatten(2, GRID)
    target = patch_cam(teacher(view2).aux_tokens, teacher.module.aux_classifier)
    torch.testing.assert_close(term(step), cam_consistency_loss(scores, target, labels))


def test_the_students_own_cam_is_no_target() -> None:
    with pytest.raises(ValueError, match=r"source: expected a CAM of the teacher, .* student, fin"):
        terms.CamConsistency(CAMSource("student"))


# -- thresholds that follow the batch ------------------------------------------------------------


def test_labels_of_pixels_and_tokens_follow_the_mixture_of_their_own_cam() -> None:
    objective = build("paper", pseudo_thresholds="mixture")
    student = copy.deepcopy(objective.student)
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())
    made = student(view1)
    cam = patch_cam(made.aux_tokens, student.aux_classifier)
    scores = (cam * labels[:, :, None, None]).amax(dim=1)
    low, high = mixture_thresholds(scores, 0.25, 0.7)
    assert (low, high) != (0.25, 0.7)
    expected = cam_to_labels(cam, labels, low=low, high=high)
    assert torch.equal(output.affinity_labels, expected)
    assert not torch.equal(expected, cam_to_labels(cam, labels, low=0.25, high=0.7))
    # The pixels' labels are made from another CAM, at the size of the images.
    assert output.cam is not None
    assert output.cam.shape[2:] == view1.shape[2:]
    on_grid = (resize_cam(output.cam, GRID) * labels[:, :, None, None]).amax(dim=1)
    low, high = mixture_thresholds(on_grid, 0.25, 0.7)
    pixels = view1 * STD + MEAN
    labelled = pseudo_labels(PAR(), pixels, output.cam, labels, low=low, high=high)
    assert torch.equal(output.pseudo_labels, labelled)
    seen = (output.pseudo_low.item(), output.pseudo_high.item())
    assert seen == pytest.approx((low, high), rel=1e-6)


def test_images_without_a_class_keep_the_thresholds_and_fixed_ones_are_not_shown() -> None:
    view1, view2, labels = views()
    nothing = run(build("fast", pseudo_thresholds="mixture"), 60, views=(view1, view2, 0 * labels))
    seen = (nothing.pseudo_low.item(), nothing.pseudo_high.item())
    assert seen == pytest.approx((0.25, 0.7))
    assert not nothing.pseudo_labels.any()
    assert "pseudo_low" not in run(build("fast"), 60).seen


def test_unknown_thresholds_are_refused_by_each_kind_of_label() -> None:
    for kind in (PixelLabels, TokenLabels):
        with pytest.raises(ValueError, match="thresholds: expected one of 'fixed', 'mixture'"):
            kind(CAMSource(), thresholds="otsu")


# -- CAMs spread by tokens ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        CAMSource("student", "final", 1, reuse=True),
        CAMSource("student", "auxiliary", 1, scales=(1.0,), flip=False),
        CAMSource("teacher", "auxiliary", 1, reuse=True, extra=(0.5,)),
    ],
    ids=CAMSource.describe,
)
def test_pseudo_labels_come_from_the_spread_cam(source: CAMSource) -> None:
    student, teacher = networks()
    part = PixelLabels(source, affinity=2)
    term = terms.Segmentation(part)
    step = step_of(term, student, teacher=teacher)
    term(step)
    view1, _, _ = views()
    network = student if source.network == "student" else teacher.module
    output = network(view1)
    tokens = output.tokens if source.layer == "final" else output.aux_tokens
    spread = affinity_cam(step.cam(source, GRID), tokens, 2)
    torch.testing.assert_close(step.seen["cam"], resize_cam(spread, view1.shape[2:]))
    assert not step.seen["cam"].requires_grad
    plain = step_of(terms.Segmentation(PixelLabels(source)), student, teacher=teacher)
    assert not torch.allclose(plain.cam(source, view1.shape[2:]), step.seen["cam"], atol=0.05)


def test_the_spread_cam_costs_no_pass_and_leaves_the_affinity_term_alone() -> None:
    objective = build("reference", cam_affinity=2, segmentation_cam={"layer": "auxiliary"})
    plain = build("reference", segmentation_cam={"layer": "auxiliary"})
    for part in ("student", "teacher"):
        getattr(plain, part).load_state_dict(getattr(objective, part).state_dict())
    passes = [_Passes(each.student) for each in (objective, plain)]
    output, other = run(objective, 60), run(plain, 60)
    assert passes[0].seen == passes[1].seen
    assert torch.equal(output.affinity, other.affinity)
    assert not torch.equal(output.pseudo_labels, other.pseudo_labels)


def test_a_bad_affinity_is_refused_by_the_labels() -> None:
    with pytest.raises(ValueError, match="affinity: expected a positive integer, got -2"):
        PixelLabels(CAMSource(), affinity=-2)


# -- relations of a frozen encoder ----------------------------------------------------------------


def frozen(**changes: Any) -> ViTBackbone:
    """A small encoder with patches of its own."""
    torch.manual_seed(7)
    options = {"patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2} | changes
    return ViTBackbone("vit_tiny_patch16_224", image_size=64, options=options)


def test_the_relations_are_those_of_the_named_encoder() -> None:
    switch = {"relations_weight": 0.5, "relations_backbone": "fsr_scenes_tiny"}
    objective = build("fast", **switch)
    student, teacher = copy.deepcopy(objective.student), objective.teacher.module
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())
    other = ViTBackbone("fsr_scenes_tiny", pretrained=True, image_size=96).eval()
    pixels = (view1 * STD + MEAN).clamp(0, 1)
    with torch.no_grad():
        target = other.norm(other((pixels - 0.5) / 0.5).tokens)
    expected = relation_loss(student(view1).tokens, target)
    assert expected.item() > 0
    torch.testing.assert_close(output.relations, expected)
    assert output.weights["relations"] == 0.5
    plain = build("fast")
    plain.student.load_state_dict(student.state_dict())
    plain.teacher.module.load_state_dict(teacher.state_dict())
    without = plain(view1, view2, labels, step=60, generator=generator())
    assert all(torch.equal(output.values[name], value) for name, value in without.values.items())
    torch.testing.assert_close(output.total, without.total + 0.5 * output.relations)


def test_weights_from_a_file_are_those_of_the_name(tmp_path: Path) -> None:
    named = terms.FrozenRelations("fsr_scenes_tiny").encoder
    timm_model = named.backbone.model
    with torch.no_grad():
        timm_model.pos_embed.add_(1.0)
    save_file(timm_model.state_dict(), tmp_path / "weights.safetensors")
    switch = {"relations_weight": 1.0, "relations_backbone": "fsr_scenes_tiny"}
    path = str(tmp_path / "weights.safetensors")
    term: Any = build("fast", relations_weights=path, **switch).terms["relations"]
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(term.encoder(images, GRID), named(images, GRID))
    with pytest.raises(FileNotFoundError, match=r"weights: no file 'nothing\.safetensors'"):
        build("fast", relations_weights="nothing.safetensors", **switch)


def test_the_frozen_encoder_is_neither_trained_nor_saved_nor_moved_away_from() -> None:
    backbone = frozen()
    student, teacher = networks()
    term = terms.FrozenRelations(backbone)
    objective = TrainingObjective(
        student, teacher, preset="fast", terms=[term], **(NORMALISATION | RUN)
    )
    before = copy.deepcopy(term.encoder.backbone.state_dict())
    objective.train()
    run(objective, 60).total.backward()
    assert not [name for name in objective.state_dict() if "relations" in name]
    assert list(term.parameters()) == []
    assert not term.encoder.train().backbone.training
    assert_same(term.encoder.backbone.state_dict(), before)
    assert all(parameter.grad is None for parameter in term.encoder.parameters())
    # The one that was given is somebody's: it is copied, not frozen.
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    twin = pickle.loads(pickle.dumps(term))
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(twin.encoder(images, GRID), term.encoder(images, GRID))


# -- several processes ----------------------------------------------------------------------------


def _train_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    for index, switch in enumerate(SWITCHES):
        torch.manual_seed(0)
        plain = build_student()
        student = DistributedDataParallel(plain)  # find_unused_parameters stays False
        objective = TrainingObjective(
            student, EMATeacher(plain, 0.5), preset="fast", **(NORMALISATION | RUN | switch)
        )
        torch.manual_seed(rank)
        for step in (0, 60):
            student.zero_grad()
            objective(*batch(), step=step, generator=generator(rank)).total.backward()
        gradients = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
        torch.save(gradients, f"{folder}/{index}-{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_without_a_search_for_unused_parameters(tmp_path: Path) -> None:
    run_together(_train_in_process, str(tmp_path))
    for index in range(len(SWITCHES)):
        own, other = (
            torch.load(tmp_path / f"{index}-{rank}.pt", weights_only=True) for rank in (0, 1)
        )
        assert len(own) > 0
        assert_same(own, other, rtol=1e-5, atol=1e-7)
