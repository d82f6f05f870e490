"""BECO: its term against the pure functions, its configurations, and a run from start to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from fsr.errors import ConfigError, ShapeError
from fsr.losses import cotraining_loss
from fsr.masking import boundary, class_mix_mask, draw_classes
from fsr.objective import ObjectiveOutput, TrainingObjective
from fsr.presets import BECO
from fsr.segmenter import SingleStageSegmenter
from fsr.train import (
    Config,
    build_learning_rate,
    build_method,
    build_optimizer,
    build_student,
    load_config,
)
from tests.train.test_method_afa import TINY, fresh, losses, reached, resumed

SIZE = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
DECODERS = {"hidden_dim": 8, "dilation": 1}
# Of a run of 100 steps: before step 10 the labels given are mixed, from then on the network's own.
SETTINGS: dict[str, Any] = {"total_steps": 100, "online_from": 0.1, "decoders": DECODERS}
LABELS = torch.ones(4, 3)
Given = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    fresh()


def build(**changes: Any) -> tuple[SingleStageSegmenter, TrainingObjective]:
    """Return a tiny pair of networks that are sure of themselves, and the objective of BECO."""
    torch.manual_seed(3)
    settings = BECO(**(SETTINGS | changes))
    student = SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options=SIZE,
        heads=settings.heads(),
    )
    with torch.no_grad():
        for name in ("first", "second"):
            head: Any = student.heads[name]
            head.decoder.classifier.weight.mul_(40)
    return student, TrainingObjective(student, preset=settings)


def images(seed: int = 5) -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def given(*, weights: bool = True) -> Given:
    """Return label maps of bands with some unknown pixels, and which of them to trust."""
    masks = (torch.arange(32)[:, None] // 8).expand(4, 32, 32).clone()
    masks[1] = masks[1].T.clone()
    masks[2, :, 20:] = 255
    sure = torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(6)) > 0.4
    return {"masks": masks} | ({"weights": sure.float()} if weights else {})


def output_of(objective: TrainingObjective, number: int, maps: Given) -> ObjectiveOutput:
    generator = torch.Generator().manual_seed(8)
    return objective(images(), None, LABELS, step=number, given=maps, generator=generator)


def mixed_by_hand(
    labels: Tensor, confident: Tensor, drawn_from: Tensor, maps: Given, trusted: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mix image by image: ``labels`` and ``confident`` where pasted onto, those given elsewhere.

    Returns:
        Images, labels, confidence and what was pasted.
    """
    generator = torch.Generator().manual_seed(8)
    seen = labels.masked_fill(~drawn_from, 255)
    classes = draw_classes(seen, generator=generator)
    chosen = (torch.rand(4, generator=generator) < 0.5).tolist()
    assert set(chosen) == {True, False}
    found: list[list[Tensor]] = [[], [], [], []]
    for index, paste in enumerate(chosen):
        partner = (index + 2) % 4
        mask = class_mix_mask(seen[partner], classes[partner]) & torch.tensor(paste)
        image, own, sure = images()[index].clone(), maps["masks"][index], trusted[index]
        if paste:
            image[:, mask] = images()[partner][:, mask]
            own, sure = labels[index].clone(), confident[index].clone()
            own[mask], sure[mask] = labels[partner][mask], confident[partner][mask]
        for values, value in zip(found, (image, own, sure, mask), strict=True):
            values.append(value)
    return tuple(torch.stack(values) for values in found)  # type: ignore[return-value]


def online(student: SingleStageSegmenter) -> tuple[Tensor, Tensor]:
    """Return the networks' own labels and which of them they are sure of."""
    with torch.no_grad():
        logits = student.eval()(images(), outputs=("segmentation",)).segmentation
    student.train()
    scores = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=False).softmax(1)
    largest, labels = scores.max(1)
    return labels, largest > 0.95


# -- heads and term --------------------------------------------------------------------------------


def test_two_networks_and_their_mean() -> None:
    student, _ = build()
    first: Any = student.heads["first"]
    second: Any = student.heads["second"]
    output = student.eval()(images())
    tokens = output.tokens.transpose(1, 2).unflatten(2, (4, 4))
    assert torch.equal(output.head("first"), first.decoder(tokens))
    own = second.backbone(images()).tokens
    tokens = second.backbone.norm(own).transpose(1, 2).unflatten(2, (4, 4))
    assert torch.equal(output.head("second"), second.decoder(tokens))
    mean = (output.head("first") + output.head("second")) / 2
    torch.testing.assert_close(output.segmentation, mean)
    # They start from the same encoder, which is not shared, and from decoders of their own.
    assert torch.equal(second.backbone.mask_token, student.backbone.mask_token)
    assert second.backbone.mask_token is not student.backbone.mask_token
    assert not torch.equal(first.decoder.conv1.weight, second.decoder.conv1.weight)


@pytest.mark.parametrize("weights", [True, False])
def test_from_epoch_one_the_networks_own_labels_are_mixed(weights: bool) -> None:
    student, objective = build()
    maps = given(weights=weights)
    labels, sure = online(student)
    assert 0.2 < sure.float().mean() < 1
    trusted = maps["weights"] > 0.5 if weights else maps["masks"] != 255
    mixed, own, confident, pasted = mixed_by_hand(labels, sure, sure, maps, trusted)
    assert 0 < pasted.float().mean() < 1
    output = output_of(objective, 10, maps)
    read = student(mixed, outputs=("first", "second"))
    expected = cotraining_loss(
        read.head("first"), read.head("second"), own, confident, boundary(pasted).boundary
    )
    assert torch.equal(output.values["cotraining"], expected.total)
    assert output.seen["ce1"].equal(expected.parts.ce1.detach())
    assert output.seen["trusted"] == confident.float().mean()
    assert output.seen["pasted"] == pasted.float().mean()
    assert torch.equal(output.pseudo_labels, maps["masks"])


def test_before_it_all_labels_given_are_mixed_and_no_boundary_counts() -> None:
    student, objective = build(confident_weight=5.0)
    maps = given()
    trusted, whole = maps["weights"] > 0.5, torch.ones(4, 32, 32, dtype=torch.bool)
    mixed, own, confident, pasted = mixed_by_hand(maps["masks"], trusted, whole, maps, trusted)
    assert (pasted & ~confident).any()  # pasted without being trusted
    read = student(mixed, outputs=("first", "second"))
    expected = cotraining_loss(
        read.head("first"), read.head("second"), own, confident, torch.zeros_like(pasted)
    )
    output = output_of(objective, 9, maps)
    assert torch.equal(output.values["cotraining"], expected.total)


def test_the_boundary_weights_are_those_of_the_settings() -> None:
    student, objective = build(confident_weight=3.0, unconfident_weight=2.0, boundary_size=2)
    maps = given()
    labels, sure = online(student)
    mixed, own, confident, pasted = mixed_by_hand(labels, sure, sure, maps, maps["weights"] > 0.5)
    read = student(mixed, outputs=("first", "second"))
    rim = boundary(pasted, 2).boundary
    logits = (read.head("first"), read.head("second"))
    expected = cotraining_loss(
        *logits, own, confident, rim, confident_weight=3.0, unconfident_weight=2.0
    )
    output = output_of(objective, 50, maps)
    assert torch.equal(output.values["cotraining"], expected.total)
    assert expected.total > cotraining_loss(*logits, own, confident, rim).total


def test_without_mixing_the_labels_given_teach() -> None:
    student, objective = build(mix_probability=0.0)
    maps = given()
    read = student(images(), outputs=("first", "second"))
    none = torch.zeros(4, 32, 32, dtype=torch.bool)
    expected = cotraining_loss(
        read.head("first"), read.head("second"), maps["masks"], maps["weights"] > 0.5, none
    )
    output = output_of(objective, 50, maps)
    assert torch.equal(output.values["cotraining"], expected.total)
    assert output.seen["pasted"] == 0


def test_the_background_is_pasted_only_when_asked() -> None:
    maps = {"masks": torch.zeros(4, 32, 32, dtype=torch.long)}
    shares = [
        output_of(build(mix_background=asked, mix_probability=1.0)[1], 0, maps).seen["pasted"]
        for asked in (False, True)
    ]
    assert shares == [0, 1]


@pytest.mark.parametrize("number", [0, 50])
def test_padding_teaches_nothing_and_is_never_pasted(number: int) -> None:
    student, objective = build(mix_probability=1.0)
    masks = given()["masks"].clone()
    masks[:, :, 16:] = 255
    maps = {"masks": masks, "box": torch.tensor([[0, 32, 0, 16]] * 4)}
    student.zero_grad()
    seen: list[Tensor] = []
    student.heads["second"].register_forward_hook(
        lambda _, read, __: seen.append(read[0].images) if student.training else None
    )
    output = output_of(objective, number, maps)
    assert torch.equal(seen[-1][..., 16:], images()[..., 16:])
    assert not torch.equal(seen[-1], images())
    # Every label may change there: the loss does not.
    other = maps | {"masks": masks.where(torch.arange(32) < 16, masks.new_tensor(1))}
    changed = output_of(objective, number, other)
    assert torch.equal(output.total, changed.total)


def test_both_networks_learn_and_nothing_else() -> None:
    student, objective = build()
    taught = reached(output_of(objective, 50, given()).total, student)
    for part in ("backbone.model.blocks.0", "heads.first", "heads.second.backbone.model.blocks.0"):
        assert any(name.startswith(part) for name in taught), part
    assert "heads.second.decoder.classifier.weight" in taught
    assert not any(name.startswith("classifier") for name in taught)


# -- configurations --------------------------------------------------------------------------------


def _config(name: str, *overrides: str) -> Config:
    return load_config(name, overrides=["data.root=somewhere", *overrides])


@pytest.mark.parametrize(("name", "steps"), [("beco_voc", 52_880), ("beco_coco", 410_400)])
def test_configurations_have_the_released_constants(name: str, steps: int) -> None:
    config = _config(name)
    settings: Any = build_method(config)
    assert (settings.confident_weight, settings.unconfident_weight) == (0.2, 0.0)
    assert (settings.boundary_size, settings.confidence) == (1, 0.95)
    assert (settings.mix_probability, settings.mix_background) == (0.5, False)
    assert settings.resolve() == {"online_from": steps // 80, "learning_rate_warmup": 0}
    assert settings.cotraining_weight == 1.0
    assert (config.steps, config.data.image_size, config.data.batch_size) == (steps, 512, 16)
    assert config.views.rescale == [0.5, 2.0]
    optim = config.optim
    assert (optim.name, optim.lr, optim.sgd_momentum) == ("sgd", 0.01, 0.9)
    assert (optim.weight_decay, optim.head_lr_scale, optim.bias_lr_scale) == (1e-4, 1.0, 1.0)
    assert (optim.schedule, optim.power, optim.freeze_norms) == ("warmup_poly", 0.9, False)
    rate = build_learning_rate(config)
    assert rate(0) == 0.01
    assert rate(steps // 2) == pytest.approx(0.01 * 0.5**0.9)


def test_the_second_encoder_is_treated_as_the_first() -> None:
    more = ["optim.freeze_norms=true", "model.grad_checkpointing=true"]
    config = load_config("beco", overrides=[*TINY, *more])
    student = build_student(config, ["a", "b"])
    groups = {group["name"]: group for group in build_optimizer(config, student).param_groups}
    base, head = groups["base"]["parameter_names"], groups["head"]["parameter_names"]
    inner = "model.blocks.0.mlp.fc1.weight"
    assert {f"backbone.{inner}", f"heads.second.backbone.{inner}"} <= set(base)
    assert {"heads.first.decoder.conv1.weight", "heads.second.decoder.conv1.weight"} <= set(head)
    assert (groups["base"]["lr_scale"], groups["head"]["lr_scale"]) == (1.0, 10.0)
    assert not student.get_parameter("heads.second.backbone.model.norm.weight").requires_grad
    second: Any = student.heads["second"]
    assert second.backbone.model.grad_checkpointing


# -- runs ------------------------------------------------------------------------------------------


def test_a_run_resumes_to_the_last_bit_and_both_networks_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [*TINY, "preset.decoders={hidden_dim: 8, dilation: 1}", "preset.online_from=0.5"]
    more += ["preset.confidence=0.2", "preset.mix_probability=1.0"]
    whole, cut = (
        load_config("beco", overrides=[*more, f"run.output={tmp_path / name}"])
        for name in ("whole", "cut")
    )
    scores = resumed(whole, cut, monkeypatch)
    steps = losses(tmp_path / "whole")
    assert losses(tmp_path / "cut") == steps
    assert all(step["cotraining"] > 0 for step in steps)
    assert any(step["pasted"] > 0 for step in steps)
    assert 0 <= scores["student"]["prediction_miou"] <= 1
    loaded = SingleStageSegmenter.load(tmp_path / "whole" / "student.safetensors")
    other = SingleStageSegmenter.load(tmp_path / "cut" / "student.safetensors").state_dict()
    assert all(torch.equal(value, other[key]) for key, value in loaded.state_dict().items())
    second: Any = loaded.heads["second"]
    inner = "model.blocks.0.mlp.fc1.weight"
    assert not torch.equal(
        second.backbone.get_parameter(inner), loaded.backbone.get_parameter(inner)
    )
    pictures = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        read = loaded(pictures)
    mean = (read.head("first") + read.head("second")) / 2
    expected = F.interpolate(mean, (32, 32), mode="bilinear", align_corners=False).softmax(1)
    predicted = loaded.predict(pictures, scales=[1.0], flip=False)
    torch.testing.assert_close(predicted, expected)
    assert loaded.cam(pictures)[0].shape == (1, 6, 32, 32)


# -- refusals --------------------------------------------------------------------------------------


def test_an_odd_batch_is_refused() -> None:
    _, objective = build()
    maps = {name: value[:3] for name, value in given().items()}
    with pytest.raises(ShapeError, match=r"images: expected an even batch"):
        objective(images()[:3], None, LABELS[:3], step=0, given=maps)


def test_missing_label_maps_are_refused() -> None:
    _, objective = build()
    with pytest.raises(ValueError, match=r"given: expected the label maps of view 1 as 'masks'"):
        objective(images(), None, LABELS, step=0)


def test_a_student_without_a_second_network_is_refused() -> None:
    options: Any = {"image_size": 32, "projection_dim": 8, "backbone_options": SIZE}
    student = SingleStageSegmenter(3, "vit_tiny_patch16_224", **options)
    with pytest.raises(ValueError, match=r"the term 'cotraining' reads a head 'first'"):
        TrainingObjective(student, preset="beco")
    student = SingleStageSegmenter(
        3, "vit_tiny_patch16_224", heads={"segmentation": None}, **options
    )
    with pytest.raises(ValueError, match=r"expected a head 'segmentation', to label images with"):
        TrainingObjective(student, preset="beco")


def test_options_of_a_decoder_that_it_does_not_have_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"heads\['first'\]: .*width"):
        build(decoders={"width": 8})


@pytest.mark.parametrize(
    "option", ["boundary_size=0", "confidence=1.5", "mix_probability=-1", "confident_weight=-1"]
)
def test_options_out_of_range_are_refused_by_name(option: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        load_config("beco", overrides=[f"preset.{option}"])
