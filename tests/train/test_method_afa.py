"""AFA: its terms against the pure functions, its configurations, and a run from start to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.affinity import affinity_labels, propagate_with_background, radius_mask
from fsr.backbone import BackboneRequest
from fsr.cam import resize_cam
from fsr.errors import ConfigError
from fsr.losses import affinity_loss, balanced_segmentation_loss, classification_loss
from fsr.objective import Step, TrainingObjective
from fsr.presets import AFA, CAMSource
from fsr.refine import PAR, labels_between, pseudo_labels, refine_in_box
from fsr.segmenter import SingleStageSegmenter
from fsr.train import (
    Config,
    _loop,
    build_learning_rate,
    build_method,
    build_optimizer,
    build_student,
    load_config,
    read_log,
    run,
)
from fsr.train._step import train_step

SIZE = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "global_pool": "token"}
SETTINGS: dict[str, Any] = {
    "affinity_radius": 2,
    "refinement_steps": 2,
    "pseudo_low": 0.3,
    "pseudo_high": 0.6,
    "total_steps": 100,
}
BOX = torch.tensor([[0, 32, 0, 32], [3, 32, 0, 27]])
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
TINY = [
    "data.image_size=32",
    "data.batch_size=4",
    "data.train_size=8",
    "data.eval_size=2",
    "data.workers=0",
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}",
    "eval.at_start=false",
    "eval.every=100",
    "run.checkpoint_every=2",
    "run.log_every=1",
    "run.sheet_images=0",
    "run.tensorboard=false",
    "run.upper_bound=null",
    "steps=4",
]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    fresh()


def fresh() -> None:
    """Forget the processes that a run joined."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def losses(folder: Path) -> list[dict[str, Any]]:
    """All that the log says of each step, but how long it took and waited."""
    records = [record for record in read_log(folder / "log.jsonl") if record["kind"] == "train"]
    return [{key: r[key] for key in r if key not in ("seconds", "waited")} for r in records]


def resumed(config: Config, cut: Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run once whole, and once cut off before step 3 and resumed; return the first's scores."""
    scores = run(config)
    fresh()

    def stops(parts: Any, number: int, *rest: Any) -> Any:
        if number == 2:
            raise SystemExit
        return train_step(parts, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_loop, "train_step", stops)
        with pytest.raises(SystemExit):
            run(cut)
    fresh()
    run(cut, resume=True)
    return scores


def build(**changes: Any) -> tuple[SingleStageSegmenter, TrainingObjective]:
    """Return a tiny student and the objective of AFA over it."""
    torch.manual_seed(3)
    settings = AFA(**(SETTINGS | changes))
    student = SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options=SIZE,
        heads=settings.heads(),
        decoder_options={"hidden_dim": 8, "dilation": 2},
    )
    with torch.no_grad():  # an untrained network's logits decide nothing
        head: Any = student.heads["affinity"]
        head.affinity.projection.weight.mul_(60)
    return student, TrainingObjective(student, preset=settings)


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def step_of(student: SingleStageSegmenter, objective: TrainingObjective, number: int) -> Step:
    parts: Any = list(objective.terms.values())
    return Step([images()], LABELS, number, student=student, parts=parts, given={"box": BOX})


def by_hand(student: SingleStageSegmenter, step: Step, *, spread: bool) -> Tensor:
    """Return the labels of a step, made from the library's functions alone."""
    pixels, par = step.image(1), PAR(2)
    final, _ = student.cam(images())
    if not spread:
        return pseudo_labels(par, pixels, final, LABELS, low=0.3, high=0.6, box=BOX)
    large = F.interpolate(images(), (48, 48), mode="bilinear", align_corners=False)
    with torch.no_grad():
        affinity = student.eval()(large, outputs=("affinity",)).head("affinity")
    student.train()
    maps = []
    for background in (0.3, 0.6):
        near = radius_mask((6, 6), 2)
        cam = resize_cam(final, (6, 6))
        found = propagate_with_background(cam, affinity, LABELS, background, mask=near)
        maps.append(refine_in_box(par, pixels, resize_cam(found, (32, 32)), LABELS, BOX))
    return labels_between(maps[0], maps[1], BOX)


# -- head and terms --------------------------------------------------------------------------------


def test_the_head_reads_logits_of_the_last_two_blocks_without_prefix() -> None:
    student, _ = build()
    asked = BackboneRequest(attention=(1, 2), attention_form="logits")
    read = student.backbone.read(images(), request=asked)
    stacked = torch.cat([logits[:, :, 1:, 1:] for logits in read.attention], dim=1)
    assert stacked.shape == (2, 4, 16, 16)
    head: Any = student.heads["affinity"]
    affinity = student(images()).head("affinity")
    assert torch.equal(affinity, head.affinity(stacked))
    assert affinity.detach().std() > 0.1


@pytest.mark.parametrize("number", [29, 30])
def test_terms_equal_the_functions_called_by_hand(number: int) -> None:
    student, objective = build()
    plain = by_hand(student, step_of(student, objective, number), spread=False)
    labels = by_hand(student, step_of(student, objective, number), spread=number >= 30)
    assert len(set(labels.unique().tolist()) - {255}) >= 2
    assert bool((labels != plain).any()) == (number >= 30)
    output = objective(images(), None, LABELS, step=number, given={"box": BOX})
    read = student(images())
    near = radius_mask((4, 4), 2)
    pairs = affinity_labels(plain[:, ::8, ::8], near)
    assert {0, 1, 255} == set(pairs.unique().tolist())
    expected = {
        "classification": classification_loss(read.class_logits, LABELS),
        "affinity": affinity_loss(read.head("affinity"), pairs),
        "segmentation": balanced_segmentation_loss(read.segmentation, labels),
    }
    assert torch.equal(output.pseudo_labels, labels)
    assert torch.equal(output.affinity_labels, plain[:, ::8, ::8])
    torch.testing.assert_close(output.terms(), expected, rtol=0, atol=0)
    assert output.weights == {"classification": 1.0, "affinity": 0.1, "segmentation": 0.1}


def test_on_coco_pairs_are_labelled_by_the_spread_labels_too() -> None:
    student, objective = build(propagated_pairs=True)
    labels = by_hand(student, step_of(student, objective, 30), spread=True)
    output = objective(images(), None, LABELS, step=30, given={"box": BOX})
    assert torch.equal(output.affinity_labels, labels[:, ::8, ::8])


def test_before_its_phase_nothing_but_classification_is_computed() -> None:
    _, objective = build()
    output = objective(images(), None, LABELS, step=9, given={"box": BOX})
    assert output.weights == {"classification": 1.0, "affinity": 0.0, "segmentation": 0.0}
    assert output.cam is None
    settings = AFA()
    weights = TrainingObjective(build()[0], preset=settings).weights
    assert [weights["affinity"](step) for step in (1_999, 2_000)] == [0.0, 0.1]
    assert settings.resolve() == {
        "affinity_from": 2_000,
        "segmentation_from": 2_000,
        "propagated_from": 6_000,
        "learning_rate_warmup": 1_500,
    }


def reached(loss: Tensor, student: SingleStageSegmenter) -> set[str]:
    """Return the network's parameters that a loss has a gradient of."""
    student.zero_grad()
    loss.backward()
    named = student.named_parameters()
    return {name for name, p in named if p.grad is not None and bool(p.grad.abs().sum() > 0)}


def test_the_affinity_teaches_queries_and_keys_and_no_label_has_a_gradient() -> None:
    student, objective = build()
    step = step_of(student, objective, 60)
    terms: Any = objective.terms
    taught = reached(terms["affinity"](step), student)
    assert "heads.affinity.affinity.projection.weight" in taught
    assert "backbone.model.blocks.2.attn.qkv.weight" in taught
    # What comes after the last block's queries and keys, and the other heads.
    assert not any(name.startswith(("decoder", "classifier")) for name in taught)
    assert "backbone.model.blocks.2.mlp.fc1.weight" not in taught
    taught = reached(terms["segmentation"](step_of(student, objective, 60)), student)
    assert any(name.startswith("decoder") for name in taught)
    assert not any(name.startswith(("heads", "classifier")) for name in taught)


def test_labels_are_made_in_evaluation_mode_which_is_put_back() -> None:
    student, objective = build()
    modes: list[bool] = []
    patches = student.backbone.model.patch_embed  # once in every pass
    patches.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    objective(images(), None, LABELS, step=60, given={"box": BOX})
    # Three scales of the CAM and the affinity without noise, then the training pass.
    assert modes.count(True) == 1
    assert modes.count(False) == 4
    assert student.training


# -- configurations --------------------------------------------------------------------------------


def _config(name: str, *overrides: str) -> Config:
    return load_config(name, overrides=["data.root=somewhere", *overrides])


def test_voc_has_the_released_constants() -> None:
    config = _config("afa_voc")
    settings: Any = build_method(config)
    assert settings == AFA()
    assert (settings.pseudo_low, settings.pseudo_high) == (0.35, 0.55)
    assert (settings.segmentation_weight, settings.affinity_weight) == (0.1, 0.1)
    assert (settings.affinity_radius, settings.affinity_blocks) == (8, 2)
    assert (settings.affinity_scale, settings.refinement_steps) == (1.5, 10)
    assert (config.steps, config.data.image_size, config.data.batch_size) == (20_000, 512, 4)
    assert (config.views.rescale, config.views.flip) == ([0.5, 2.0], 0.5)
    assert (config.views.jitter_prob, config.views.blur_prob) == (0.0, 0.0)
    optim = config.optim
    assert (optim.name, optim.lr, optim.weight_decay) == ("adamw", 6e-5, 0.01)
    assert (optim.head_lr_scale, optim.freeze_norms) == (10.0, True)
    assert (optim.schedule, optim.power, optim.beta1, optim.beta2) == (
        "warmup_poly",
        1.0,
        0.9,
        0.999,
    )
    assert (config.eval.cam_threshold, config.eval.scales) == (0.45, [1.0, 0.5, 0.75])
    rate = build_learning_rate(config)
    assert rate(0) == pytest.approx(6e-11)
    assert rate(1_500) == pytest.approx(6e-5 * (1 - 1_500 / 20_000))
    assert rate(10_000) == pytest.approx(3e-5)


def test_coco_has_the_released_differences() -> None:
    config = _config("afa_coco")
    settings: Any = build_method(config)
    assert (config.steps, config.data.image_size, config.data.batch_size) == (80_000, 512, 8)
    assert settings.resolve() == {
        "affinity_from": 5_000,
        "segmentation_from": 5_000,
        "propagated_from": 15_000,
        "learning_rate_warmup": 1_500,
    }
    assert (settings.refinement_steps, settings.propagated_pairs) == (15, True)
    assert (settings.pseudo_low, settings.pseudo_high) == (0.35, 0.55)
    assert config.eval.cam_threshold == 0.45
    assert (config.optim.power, config.optim.freeze_norms) == (1.0, True)


def test_norms_are_frozen_and_new_layers_learn_ten_times_as_fast() -> None:
    config = load_config("afa", overrides=TINY)
    student = build_student(config, ["a", "b"])
    groups = {group["name"]: group for group in build_optimizer(config, student).param_groups}
    names = {name: groups[name]["parameter_names"] for name in groups}
    assert not any("norm" in name for group in names.values() for name in group)
    assert "heads.affinity.affinity.projection.weight" in names["head"]
    assert groups["head"]["lr_scale"] == 10.0
    frozen = [name for name, p in student.named_parameters() if not p.requires_grad]
    assert "backbone.model.blocks.0.norm1.weight" in frozen


# -- runs ------------------------------------------------------------------------------------------


def test_a_run_resumes_to_the_last_bit_and_its_network_is_saved_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (
        load_config("afa", overrides=[*TINY, f"run.output={tmp_path / name}"])
        for name in ("whole", "cut")
    )
    scores = resumed(whole, cut, monkeypatch)
    steps = losses(tmp_path / "whole")
    assert losses(tmp_path / "cut") == steps
    # Phases of a run of four steps: all terms from the start, spread labels from step 1 on.
    assert [step["affinity"] > 0 for step in steps] == [True] * 4
    assert [step["segmentation"] > 0 for step in steps] == [True] * 4
    assert 0 <= scores["student"]["prediction_miou"] <= 1
    loaded = SingleStageSegmenter.load(tmp_path / "whole" / "student.safetensors")
    assert "affinity" in loaded.heads
    other = SingleStageSegmenter.load(tmp_path / "cut" / "student.safetensors").state_dict()
    assert all(torch.equal(value, other[key]) for key, value in loaded.state_dict().items())
    pictures = torch.randn(1, 3, 40, 32)
    assert loaded.predict(pictures).shape == (1, 7, 40, 32)
    final, auxiliary = loaded.cam(pictures)
    assert final.shape == (1, 6, 40, 32)
    torch.testing.assert_close(auxiliary, final)  # there is no auxiliary classifier
    assert loaded(pictures).head("affinity").shape == (1, 20, 20)


# -- refusals --------------------------------------------------------------------------------------


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(ValueError, match=r"heads\['affinity'\]: needs attention of every block"):
        SingleStageSegmenter(3, "features:resnet10t", image_size=64, heads=AFA().heads())


def test_a_student_without_the_affinity_is_refused() -> None:
    student = SingleStageSegmenter(
        3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=SIZE
    )
    with pytest.raises(ValueError, match=r"expected a head 'affinity' of kind 'attention_affin"):
        TrainingObjective(student, preset="afa")


def test_more_blocks_than_the_encoder_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most the encoder's 3 blocks, got 4"):
        build(affinity_blocks=4)


@pytest.mark.parametrize("option", ["affinity_radius=0", "refinement_steps=0", "affinity_from=2"])
def test_options_out_of_range_are_refused_by_name(option: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        load_config("afa", overrides=[f"preset.{option}"])


def test_sources_are_those_of_the_released_code() -> None:
    _, objective = build()
    sources = {cam for term in objective.terms.values() for cam in term.needs(60).cams}  # type: ignore[operator]
    assert sources == {CAMSource(scales=(1.0, 0.5, 1.5), flip=True)}
    assert isinstance(objective.terms["affinity"], nn.Module)
