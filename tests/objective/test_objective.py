"""The training objective: Eq. 10 term by term, its phases, and what must never happen in a step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from fsr.aggregation import AverageAggregator
from fsr.cam import cam_to_labels
from fsr.decoder import LargeFOV
from fsr.losses import (
    DenseEnergyLoss,
    SelfReinforcementLoss,
    balanced_segmentation_loss,
    patch_token_contrast,
)
from fsr.masking import UncertainMasker
from fsr.objective import ObjectiveOutput, Place, TrainingObjective, total_loss
from fsr.objective._cams import StepCAMs
from fsr.objective._views import Pixels
from fsr.presets import LOSS_TERMS, PRESETS, CAMSource
from fsr.projection import ProjectionHead
from fsr.refine import PAR, pseudo_labels
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher
from tests.helpers import assert_same
from tests.processes import run_together

CLASSES, SIZE, GRID = 3, 64, (8, 8)
MEAN, STD = (
    torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1),
    torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1),
)
NORMALISATION: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25)}
# Every phase of a run of 100 steps, the teacher a CAM source from step 31 on.
RUN: dict[str, Any] = {"total_steps": 100, "affinity_from": 0.15}
STEPS = (0, 12, 60)


def build_student(drop_path: float = 0.0, **changes: Any) -> SingleStageSegmenter:
    options = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    parts: dict[str, Any] = {
        "projector": ProjectionHead(16, 8, hidden_dim=16, bottleneck_dim=8),
        "decoder": LargeFOV(16, CLASSES + 1, hidden_dim=8),
    }
    return SingleStageSegmenter(
        CLASSES,
        "vit_tiny_patch16_224",
        image_size=SIZE,
        backbone_options=options | {"drop_path_rate": drop_path},
        **(parts | changes),
    )


def build(preset: str = "reference", **changes: Any) -> TrainingObjective:
    student = build_student(changes.pop("drop_path", 0.0))
    teacher = EMATeacher(student, changes.pop("teacher_momentum", 0.9))
    with torch.no_grad():  # A teacher that differs from its student.
        for parameter in teacher.module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return TrainingObjective(student, teacher, preset=preset, **(NORMALISATION | RUN | changes))


def batch(images: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    pixels = torch.rand(2, images, 3, SIZE, SIZE, dtype=torch.float64)
    # Smooth, so that the maps have regions.
    pixels = F.avg_pool2d(pixels.flatten(0, 1), 9, 1, 4).view_as(pixels)
    view1, view2 = ((pixels - MEAN.double()) / STD.double()).to(dtype)
    labels = torch.zeros(images, CLASSES)
    labels[torch.arange(images), torch.arange(images) % CLASSES] = 1.0
    labels[0, 2] = 1.0
    return view1, view2, labels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask_strategy(objective: TrainingObjective, step: int) -> str:
    """How masks are chosen at a step."""
    mask: Any = objective.masks["2"]
    strategy: str = mask.strategy(step)
    return strategy


def center(objective: TrainingObjective, term: str) -> Any:
    """The centre of the teacher's outputs that a term follows."""
    part: Any = objective.terms[term]
    return part.targets.center


def run(objective: TrainingObjective, step: int, **changes: Any) -> ObjectiveOutput:
    torch.manual_seed(3)
    output: ObjectiveOutput = objective(
        *changes.pop("views", batch()), step=step, generator=generator(), **changes
    )
    return output


def views() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    return batch()


# --- the terms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_term_equals_its_component_called_by_hand(preset: str) -> None:
    objective = build(preset)
    student, teacher = copy.deepcopy(objective.student), copy.deepcopy(objective.teacher.module)
    view1, view2, labels = views()
    output = objective(view1, view2, labels, step=60, generator=generator())

    plain = student(view1)
    masked = student(view2, output.mask)
    taught1, taught2 = teacher(view1).projections, teacher(view2).projections
    uncertain, confident = SelfReinforcementLoss(8)(
        masked.projections, taught1, taught2, output.mask.flatten(1), output.teacher_temperature
    )
    size = (SIZE, SIZE)
    scales = {"scales": (1.0, 0.5, 1.5), "flip": True}
    cam, aux_cam = student.cam(view1, **(scales if preset == "reference" else single_scale()))
    if preset == "reference":
        token_cam = F.interpolate(aux_cam, GRID, mode="bilinear", align_corners=False)
    elif preset == "fast":
        cam = extended_cam(student, view1, plain, "final", size)
        token_cam = extended_cam(student, view1, plain, "auxiliary", GRID)
    else:
        token_cam = patch_cam(plain.aux_tokens, student.aux_classifier)
    token_labels = cam_to_labels(token_cam, labels, low=0.25, high=0.7)
    pixels = view1 * STD + MEAN
    labelled = pseudo_labels(PAR(), pixels, cam, labels, low=0.25, high=0.7)
    assert labelled.shape == (2, *size)

    expected = {
        "classification": F.multilabel_soft_margin_loss(plain.class_logits, labels),
        "auxiliary": F.multilabel_soft_margin_loss(plain.aux_class_logits, labels),
        "affinity": patch_token_contrast(plain.tokens, token_labels.flatten(1)),
        "segmentation": balanced_segmentation_loss(plain.segmentation, labelled),
        "uncertain": uncertain,
        "confident": confident,
        "energy": DenseEnergyLoss()(255 * pixels, plain.segmentation, labelled),
    }
    if preset == "paper":
        expected["energy"] = torch.tensor(0.0)
    for term, value in expected.items():
        torch.testing.assert_close(getattr(output, term), value, rtol=1e-4, atol=1e-6, msg=term)
    assert torch.equal(output.pseudo_labels, labelled)
    assert torch.equal(output.affinity_labels, token_labels)
    torch.testing.assert_close(output.cam, cam)
    torch.testing.assert_close(output.segmentation_logits, plain.segmentation)


def extended_cam(
    network: Any, images: Tensor, output: Any, layer: str, size: tuple[int, int]
) -> Tensor:
    """Eq. 2 on the sum of a pass that was made and of the maximum over flips at half the size."""
    name, classifier = {
        "final": ("tokens", network.classifier),
        "auxiliary": ("aux_tokens", network.aux_classifier),
    }[layer]

    def raw(made: Any) -> Tensor:
        weight = classifier.weight.flatten(1)
        scores = torch.einsum("bnd,cd->bcn", getattr(made, name), weight).relu()
        return F.interpolate(scores.unflatten(2, made.grid), size, mode="bilinear")

    half = F.interpolate(images, scale_factor=0.5, mode="bilinear")
    with torch.no_grad():
        mirrored = raw(network(half.flip(-1))).flip(-1)
        total = raw(output) + torch.maximum(raw(network(half)), mirrored)
    total = total - total.amin(dim=(2, 3), keepdim=True)
    return total / (total.amax(dim=(2, 3), keepdim=True) + 1e-5)


def single_scale() -> dict[str, Any]:
    return {"scales": (1.0,), "flip": False}


def patch_cam(tokens: Tensor, classifier: nn.Module) -> Tensor:
    """Eq. 2 by einsum, on the patch grid."""
    weight: Any = classifier.weight
    scores = torch.einsum("bnd,cd->bcn", tokens, weight.flatten(1)).clamp(min=0).detach()
    low, high = scores.amin(2, keepdim=True), scores.amax(2, keepdim=True)
    return ((scores - low) / (high - low + 1e-5)).unflatten(2, GRID)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_mask_is_the_maskers_on_the_presets_cam_of_view_2(preset: str) -> None:
    objective = build(preset)
    view1, view2, labels = views()
    mask = objective(view1, view2, labels, step=60, generator=generator()).mask
    student, teacher = objective.student, objective.teacher.module
    cams: dict[str, Callable[[], Tensor]] = {
        "paper": lambda: patch_cam(student(view2).tokens, student.classifier),
        "reference": lambda: student.cam(view2, scales=(1.0, 0.5, 1.5), flip=True)[1],
        "fast": lambda: extended_cam(teacher, view2, teacher(view2), "auxiliary", GRID),
    }
    cam = cams[preset]()
    blocks = {"block": 1} if preset == "paper" else {"block": 4, "rounding": "ceil"}
    masker = UncertainMasker(0.4, 0.2, 0.7, **blocks)
    assert torch.equal(mask, masker(cam, labels, grid=GRID, generator=generator()))
    # floor(0.4 * 64) patches, or ceil(0.4 * 4) blocks of 16.
    assert mask.flatten(1).sum(1).tolist() == [25 if preset == "paper" else 32] * 2


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("step", STEPS)
def test_the_total_is_the_weighted_sum(preset: str, step: int) -> None:
    output = run(build(preset), step)
    assert tuple(output.terms()) == tuple(output.weights) == LOSS_TERMS
    expected = sum(output.weights[term] * value.item() for term, value in output.terms().items())
    assert output.total.item() == pytest.approx(expected, rel=1e-5)
    assert torch.isfinite(output.total)


def test_total_loss_is_eq_10() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(-3.0)}
    assert total_loss(terms, {"a": 0.5, "b": 2.0}).item() == -5.0


# --- the phases --------------------------------------------------------------------------------


def test_masks_are_random_first_and_uncertain_after() -> None:
    objective = build("reference")
    assert [mask_strategy(objective, step) for step in (0, 19, 20, 99)] == [
        "random",
        "random",
        "uncertain",
        "uncertain",
    ]
    output = run(objective, 19)
    noise_only = UncertainMasker(0.4, strategy="random", block=4, rounding="ceil")
    assert torch.equal(output.mask, noise_only(torch.zeros(2, 1, *GRID), generator=generator()))
    assert (output.mask_strategy, run(objective, 20).mask_strategy) == ("random", "uncertain")


def test_fast_masks_at_random_until_its_teacher_is_a_source() -> None:
    objective = build("fast")  # momentum 0.9: a source from step 31 on
    assert [mask_strategy(objective, step) for step in (30, 31)] == ["random", "uncertain"]
    slow = build("fast", teacher_momentum=0.9995)
    assert mask_strategy(slow, 99) == "random"


def test_segmentation_and_energy_wait_for_their_phase() -> None:
    objective = build("reference")
    before, after = run(objective, 9), run(objective, 10)
    assert before.segmentation.item() == before.energy.item() == 0.0
    assert before.cam is None
    assert bool((before.pseudo_labels == 255).all())
    assert before.pseudo_labels.shape == (2, SIZE, SIZE)
    assert after.segmentation.item() > 0
    assert after.energy.item() < 0
    assert bool((after.pseudo_labels != 255).any())


def test_affinity_waits_for_its_phase() -> None:
    objective = build("reference")
    before, after = run(objective, 14), run(objective, 15)
    assert before.affinity.item() == 0.0
    assert bool((before.affinity_labels == 255).all())
    assert after.affinity.item() > 0


def test_the_teachers_temperature_warms_up() -> None:
    objective = build("reference", total_steps=16)
    assert [round(run(objective, step).teacher_temperature, 3) for step in (0, 1, 2)] == [
        0.04,
        0.07,
        0.07,
    ]


class _Passes:
    """Count the encoder passes of a network: (images in all, training mode)."""

    def __init__(self, network: nn.Module) -> None:
        self.seen: list[tuple[int, bool]] = []
        backbone: Any = network.backbone
        backbone.register_forward_pre_hook(
            lambda module, args: self.seen.append((args[0].shape[0], module.training))
        )


@pytest.mark.parametrize(
    ("preset", "step", "own"),
    [("fast", 60, 1), ("paper", 60, 1), ("reference", 60, 2), ("reference", 17, 1)],
)
def test_a_step_makes_no_pass_that_it_does_not_use(preset: str, step: int, own: int) -> None:
    objective = build(preset)
    student, teacher = _Passes(objective.student), _Passes(objective.teacher.module)
    run(objective, step)
    training = [images for images, mode in student.seen if mode]
    evaluating = [images for images, mode in student.seen if not mode]
    assert training == [4]
    # At half the size the teacher sees view 2 and its mirror images, for the mask.
    assert teacher.seen == [(4, False)] * (2 if preset == "fast" else 1)
    # A multi-scale CAM of two images with flips looks at 3 * 2 * 2 images.
    assert sum(evaluating) == own * {"paper": 2, "fast": 4, "reference": 12}[preset]


def test_a_pass_for_the_auxiliary_cam_alone_ends_at_its_block() -> None:
    objective = build("reference")
    student: Any = objective.student
    runs = dict.fromkeys(range(len(student.backbone.model.blocks)), 0)
    for index, block in enumerate(student.backbone.model.blocks):
        block.register_forward_hook(
            lambda *_, index=index: runs.__setitem__(index, runs[index] + 1)
        )
    run(objective, 60)
    auxiliary = student.aux_block % len(runs)
    # One training pass and three scales of each view; of view 2 only the auxiliary CAM is read.
    assert runs == {index: 7 if index <= auxiliary else 4 for index in runs}
    assert auxiliary < len(runs) - 1


def test_no_cam_is_made_before_anything_needs_one() -> None:
    objective = build("reference")
    passes = _Passes(objective.student)
    run(objective, 5)
    assert passes.seen == [(4, True)]


def test_without_self_reinforcement_the_teacher_does_not_run() -> None:
    objective = build("reference", uncertain_weight=0.0, confident_weight=0.0)
    passes = _Passes(objective.teacher.module)
    output = run(objective, 60)
    assert passes.seen == []
    assert output.uncertain.item() == output.confident.item() == 0.0
    output.total.backward()
    assert all(p.grad is not None for p in objective.student.parameters() if p.requires_grad)


# --- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("step", STEPS)
def test_every_trainable_parameter_stays_in_the_graph(preset: str, step: int) -> None:
    objective = build(preset)
    output = run(objective, step)
    assert all(
        output.terms()[term].requires_grad == (weight > 0)
        for term, weight in output.weights.items()
    )
    output.total.backward()
    missing = [
        name
        for name, parameter in objective.student.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert missing == []


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_trains_the_teacher_and_nothing_is_stepped(preset: str) -> None:
    objective = build(preset)
    networks = nn.ModuleList([objective.student, objective.teacher])
    before = copy.deepcopy(networks.state_dict())
    run(objective, 60).total.backward()
    assert_same(list(networks.state_dict().values()), list(before.values()))
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())


def test_labels_made_from_cams_carry_no_gradient() -> None:
    output = run(build("fast"), 60)
    for value in (output.cam, output.pseudo_labels, output.affinity_labels, output.mask):
        assert value is not None
        assert not value.requires_grad


# --- modes and noise ---------------------------------------------------------------------------


def test_the_teacher_and_own_cam_passes_are_free_of_drop_path() -> None:
    objective = build("reference", drop_path=0.8)
    assert objective.student.training
    first, second = (objective(*views(), step=60, generator=generator()) for _ in range(2))
    torch.manual_seed(11)
    third = objective(*views(), step=60, generator=generator(5))
    torch.testing.assert_close(first.cam, second.cam)
    assert torch.equal(first.pseudo_labels, third.pseudo_labels)
    view1, _, _ = views()
    objective.student.eval()
    torch.testing.assert_close(first.cam, objective.student.cam(view1)[0])


def test_modes_are_left_as_they_were() -> None:
    objective = build("paper")
    objective.student.backbone.norm.eval()  # a frozen part
    modes = {name: module.training for name, module in objective.student.named_modules()}
    run(objective, 60)
    assert {name: m.training for name, m in objective.student.named_modules()} == modes
    assert not objective.teacher.module.training


def test_a_reused_cam_is_the_single_scale_cam_of_the_same_network() -> None:
    objective = build("fast")
    view1, view2, _ = views()
    student: Any = objective.student
    cams = StepCAMs({"student": student}, (view1, view2))
    output = student(view1)
    cams.keep("student", 1, "tokens", output.tokens)
    cams.keep("student", 1, "aux_tokens", output.aux_tokens)
    for layer, expected in zip(
        ("final", "auxiliary"), student.cam(view1, **single_scale()), strict=True
    ):
        reused = cams.get(CAMSource(layer=layer, reuse=True), (SIZE, SIZE))
        own = cams.get(CAMSource(layer=layer, **single_scale()), (SIZE, SIZE))
        torch.testing.assert_close(reused, expected)
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("layer", ["final", "auxiliary"])
@pytest.mark.parametrize("size", [None, (SIZE, SIZE)])
def test_extra_scales_are_added_to_the_reused_pass(
    layer: str, size: tuple[int, int] | None
) -> None:
    objective = build("fast", drop_path=0.8)
    view1, view2, _ = views()
    student: Any = objective.student
    cams = StepCAMs({"student": student}, (view1, view2))
    output = student(view1)  # with DropPath's noise
    cams.keep("student", 1, "tokens", output.tokens)
    cams.keep("student", 1, "aux_tokens", output.aux_tokens)
    found = cams.get(CAMSource(layer=layer, reuse=True, extra=(0.5,)), size)
    assert student.training

    student.eval()
    expected = extended_cam(student, view1, output, layer, size or GRID)
    torch.testing.assert_close(found, expected)


def test_both_layers_share_the_passes_at_extra_scales() -> None:
    source = {"reuse": True, "extra": (0.5,)}
    objective, sizes = build("fast", segmentation_cam=source, affinity_cam=source), []
    objective.student.backbone.register_forward_hook(
        lambda _, args, output: sizes.append(args[0].shape[-1])
    )
    run(objective, 60)
    assert sizes == [SIZE // 2, SIZE]  # own passes first, while the training pass holds no memory


def test_a_source_may_be_a_pass_of_the_teachers_own() -> None:
    source = {"network": "teacher", "scales": (1.0, 0.5), "flip": True}
    objective = build("reference", segmentation_cam=source, mask_cam=source | {"layer": "final"})
    teacher: Any = objective.teacher.module
    view1, _, _ = views()
    output = run(objective, 60)
    torch.testing.assert_close(output.cam, teacher.cam(view1, scales=(1.0, 0.5), flip=True)[0])
    assert mask_strategy(objective, 30) == "random"  # until the teacher is a source
    assert bool((run(objective, 30).pseudo_labels == 255).all())


def test_cam_passes_run_under_autocast_too() -> None:
    objective, seen = build("reference"), []
    objective.student.backbone.register_forward_hook(
        lambda _, args, output: seen.append(torch.is_autocast_enabled("cpu"))
    )
    with torch.autocast("cpu", torch.bfloat16):
        run(objective, 60)
    assert len(seen) == 7
    assert all(seen)


# --- randomness, types, wrappers ---------------------------------------------------------------


def test_a_generator_makes_a_step_repeatable() -> None:
    objective = build("reference").eval()
    same = [objective(*views(), step=0, generator=generator(1)) for _ in range(2)]
    assert_same(same[0], same[1])
    other = objective(*views(), step=0, generator=generator(2))
    assert not torch.equal(same[0].mask, other.mask)
    state = torch.random.get_rng_state()
    objective(*batch(), step=0)
    assert not torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("preset", PRESETS)
def test_float64_stays_float64(preset: str) -> None:
    objective = build(preset)
    objective.student.double()
    objective.teacher.double()
    torch.manual_seed(3)
    output = run(objective, 60, views=batch(dtype=torch.float64))
    assert output.total.dtype == torch.float64
    output.total.backward()


@pytest.mark.parametrize("preset", PRESETS)
def test_autocast_gives_finite_terms_near_those_in_full_precision(preset: str) -> None:
    objective = build(preset).eval()
    full = run(objective, 0)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(objective, 0)
        late = run(objective, 60)
    assert half.total.dtype == torch.float32
    assert torch.isfinite(late.total)
    for term in ("classification", "auxiliary", "confident"):
        torch.testing.assert_close(
            getattr(half, term), getattr(full, term), rtol=0.05, atol=0.01, msg=term
        )
    late.total.backward()


def test_a_compiled_student_gives_the_same_terms() -> None:
    objective = build("reference")
    compiled = TrainingObjective(
        torch.compile(objective.student, backend="eager"),
        objective.teacher,
        **(NORMALISATION | RUN),
    )
    plain, other = run(objective, 60), run(compiled, 60)
    for term in LOSS_TERMS:
        torch.testing.assert_close(getattr(other, term), getattr(plain, term), msg=term)


def test_the_step_runs_on_this_device(device: torch.device) -> None:
    objective = build("fast")
    objective.student.to(device)
    objective.teacher.to(device)
    output = run(objective, 60, views=[tensor.to(device) for tensor in batch()])
    output.total.backward()
    assert output.total.device.type == output.mask.device.type == device.type
    assert center(objective, "confident").value.device.type == device.type


def test_other_aggregators_have_no_masking_to_set() -> None:
    student = build_student(aggregator=AverageAggregator())
    objective = TrainingObjective(student, EMATeacher(student), preset="paper", **RUN)
    run(objective, 60).total.backward()


def test_a_strict_mask_and_non_square_views_work() -> None:
    objective = build("reference", mask_strategy="strict", mask_block=1)
    torch.manual_seed(3)
    view1, view2, labels = batch()
    output = objective(view1[..., :48], view2[..., :48], labels, step=60)
    assert output.mask.shape == (2, 8, 6)
    assert output.pseudo_labels.shape == (2, SIZE, 48)
    output.total.backward()


def test_an_edge_mask_follows_the_edges_of_view_2() -> None:
    pytest.importorskip("skimage")
    objective = build("paper", mask_strategy="edge")
    passes = _Passes(objective.student)
    view1, _, labels = views()
    view2 = torch.zeros_like(view1)
    view2[..., 20:, :] = 2.0  # one horizontal edge, in the third row of patches
    mask = run(objective, 60, views=(view1, view2, labels)).mask
    assert bool(mask[:, 2, 1:-1].all())
    assert not bool(mask[:, 4:].any())
    assert passes.seen == [(4, True)]


# --- state -------------------------------------------------------------------------------------


def test_the_state_is_the_centres_alone_and_survives_a_round_trip() -> None:
    objective = build("fast")
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    assert sorted(before) == [
        "terms.confident.targets.center.value",
        "terms.uncertain.targets.center.value",
    ]
    assert list(objective.parameters()) == []
    run(objective, 0)
    moved = objective.state_dict()
    assert any(not torch.equal(moved[name], before[name]) for name in before)
    twin = TrainingObjective(
        objective.student, objective.teacher, preset="fast", **(NORMALISATION | RUN)
    )
    twin.load_state_dict(moved, strict=True)
    assert_same(run(twin, 0).terms(), run(objective, 0).terms())


def test_centres_rest_in_eval_mode() -> None:
    objective = build("fast").eval()
    before = copy.deepcopy(objective.state_dict())
    run(objective, 0)
    assert_same(list(objective.state_dict().values()), list(before.values()))


def test_a_copy_after_a_step_is_independent() -> None:
    objective = build("fast")
    run(objective, 0)
    twin = copy.deepcopy(objective)
    assert twin.student is not objective.student
    assert_same(run(twin, 60), run(objective, 60))


def test_the_preset_sets_the_masking_of_both_networks_unless_told_otherwise() -> None:
    for preset, expected in (("paper", "exclude"), ("reference", "ignore"), ("fast", "ignore")):
        objective = build(preset)
        assert objective.student.aggregator.masking == expected
        assert objective.teacher.module.aggregator.masking == expected
    student = build_student()
    aggregator: Any = student.aggregator
    aggregator.masking = "scale"
    TrainingObjective(student, EMATeacher(student), masking=None)
    assert aggregator.masking == "scale"


# --- degenerate and bad input ------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_an_image_without_any_class_is_kept_and_labelled_background(preset: str) -> None:
    view1, view2, labels = views()
    labels[1] = 0.0
    output = run(build(preset), 60, views=(view1, view2, labels))
    assert bool((output.pseudo_labels[1] == 0).all())
    assert bool((output.affinity_labels[1] == 0).all())
    assert all(bool(torch.isfinite(value)) for value in output.terms().values())
    output.total.backward()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float64])
def test_labels_may_be_of_any_type(dtype: torch.dtype) -> None:
    view1, view2, labels = views()
    objective = build("fast").eval()
    expected = run(objective, 60, views=(view1, view2, labels))
    assert_same(run(objective, 60, views=(view1, view2, labels.to(dtype))), expected)


def test_one_image_is_a_batch() -> None:
    torch.manual_seed(3)
    run(build("reference"), 60, views=batch(1)).total.backward()


def test_bad_arguments_raise_and_are_named() -> None:
    objective = build("reference")
    view1, view2, labels = views()
    nan = view1.clone()
    nan[0, 0, 0, 0] = float("nan")
    cases: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        ((nan, view2, labels, 0), ValueError, "view1: expected finite values"),
        ((view1, nan, labels, 0), ValueError, "view2: expected finite values"),
        ((view1, view2, labels * 2, 0), ValueError, "labels: expected multi-hot labels"),
        ((view1[0], view2, labels, 0), ValueError, "view1: expected shape"),
        ((view1, view2[..., :32], labels, 0), ValueError, "view2: expected shape"),
        ((view1, view2, labels[:, :2], 0), ValueError, "labels: expected shape"),
        ((view1.long(), view2, labels, 0), TypeError, "view1: expected a floating-point tensor"),
        ((view1, view2, labels, -1), ValueError, "step: expected a number"),
        ((view1, view2, labels, 0.5), TypeError, "step: expected an integer"),
        (
            (view1[..., :60], view2[..., :60], labels, 0),
            ValueError,
            r"images: expected a height and width that the patch \(8, 8\) divides",
        ),
        (
            (view1[..., :48], view2[..., :48], labels, 0),
            ValueError,
            r"mask_block: expected a divisor of the patch grid \(8, 6\), got 4; mask_block=2",
        ),
    ]
    for (*tensors, step), error, message in cases:
        with pytest.raises(error, match=message):
            objective(*tensors, step=step)


def test_a_missing_head_is_named() -> None:
    objective = build("fast")
    objective.student.register_forward_hook(
        lambda _, args, output: output._replace(segmentation=None)
    )
    run(objective, 0)  # nothing reads it yet
    with pytest.raises(ValueError, match="expected a head 'segmentation', got None"):
        run(objective, 60)


def test_a_projector_of_another_kind_needs_no_width_attribute() -> None:
    student = build_student(projector=nn.Sequential(nn.Linear(16, 5)))
    objective = TrainingObjective(student, EMATeacher(student), preset="paper", **RUN)
    assert center(objective, "confident").value.shape == (5,)
    run(objective, 60).total.backward()


def test_the_printed_objective_names_its_recipe() -> None:
    assert "preset='fast'" in repr(build("fast"))


def test_bad_construction_raises_and_says_what_is_expected() -> None:
    student = build_student()
    teacher = EMATeacher(student)
    with pytest.raises(TypeError, match=r"teacher: expected EMATeacher\(student, ...\), got Sing"):
        TrainingObjective(student, build_student())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="student: expected a SingleStageSegmenter, got Linear"):
        TrainingObjective(nn.Linear(2, 2), teacher)
    with pytest.raises(ValueError, match=r"preset field: .*did you mean 'energy_weight'"):
        TrainingObjective(student, teacher, energy_wight=0.1)
    with pytest.raises(ValueError, match=r"preset: expected one of .*'paper', .*got 'papers'"):
        TrainingObjective(student, teacher, preset="papers")
    with pytest.raises(ValueError, match="mean: expected shape"):
        TrainingObjective(student, teacher, mean=(0.5, 0.5))


# --- several processes -------------------------------------------------------------------------


def _train_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    for preset in PRESETS:
        torch.manual_seed(0)
        plain = build_student()
        student = DistributedDataParallel(plain)  # find_unused_parameters stays False
        objective = TrainingObjective(
            student, EMATeacher(plain, 0.5), preset=preset, **(NORMALISATION | RUN)
        )
        torch.manual_seed(rank)
        for step in STEPS:  # DDP complains about an unused parameter at the next forward
            student.zero_grad()
            objective(*batch(), step=step, generator=generator(rank)).total.backward()
        gradients = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
        torch.save((gradients, objective.state_dict()), f"{folder}/{preset}{rank}.pt")
        torch.save(_share(slice(2 * rank, 2 * rank + 2), preset), f"{folder}/{preset}-{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _share(images: slice, preset: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms of a part of a batch of four, and the gradients of their sum."""
    torch.manual_seed(0)
    student = build_student()
    objective = TrainingObjective(
        student, EMATeacher(student, 0.5), preset=preset, **(NORMALISATION | RUN)
    )
    torch.manual_seed(1)
    data = [each[images] for each in batch(4)]
    output = objective(*data, step=60, place=Place(images.start, 4, generator()))
    output.total.backward()
    terms = {name: output.values[name].detach() for name in LOSS_TERMS}
    trained = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    return terms, trained


@pytest.mark.slow
def test_two_processes_agree_without_a_search_for_unused_parameters(tmp_path: Path) -> None:
    run_together(_train_in_process, str(tmp_path))
    for preset in PRESETS:
        (gradients, state), (other_gradients, other_state) = (
            torch.load(tmp_path / f"{preset}{rank}.pt", weights_only=True) for rank in (0, 1)
        )
        assert len(gradients) > 0
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, other_gradients[name], msg=name)
        for name, value in state.items():
            torch.testing.assert_close(value, other_state[name], msg=name)
        # Whatever is a ratio over the batch counts the images of both.
        terms, trained = _share(slice(0, 4), preset)
        parts = [torch.load(tmp_path / f"{preset}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        for place, whole in ((0, terms), (1, trained)):
            assert whole.keys() == parts[0][place].keys()
            for name, value in whole.items():
                mean = (parts[0][place][name] + parts[1][place][name]) / 2
                torch.testing.assert_close(mean, value, rtol=1e-3, atol=1e-5, msg=name)


# -- the colours of images ------------------------------------------------------------------------


class Inverted(nn.Module):
    """Not the colours that were normalised."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 - (images * STD + MEAN).clamp(0, 1)


def test_pseudo_labels_follow_the_colours_of_the_module_that_makes_them() -> None:
    objective = build("paper")
    objective.pixels = Inverted()
    asked: list[Tensor] = []
    par = next(part for part in objective.modules() if isinstance(part, PAR))
    par.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    view1, *others = batch()
    run(objective, 60, views=(view1, *others))
    expected = F.interpolate(
        Inverted()(view1), size=asked[0].shape[2:], mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(asked[0], expected)


def test_of_other_bands_than_three_nobody_knows_the_colours() -> None:
    pixels = Pixels((900.0,) * 6, (250.0,) * 6, 6)
    with pytest.raises(ValueError, match=r"only three bands have, got 6; set objective\.pixels"):
        pixels(torch.zeros(1, 6, 8, 8))
