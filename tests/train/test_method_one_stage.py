"""1Stage: its terms by hand, whom the gradient reaches, its files of options, and whole runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.errors import ConfigError
from fsr.losses import classification_loss, self_supervised_mask_loss
from fsr.objective import TrainingObjective
from fsr.pooling import (
    focal_mask_penalty,
    masks_with_background,
    normalized_global_weighted_pooling,
)
from fsr.presets import OneStage
from fsr.refine import PAMR, confident_masks, refine_masks
from fsr.segmenter import SingleStageSegmenter
from fsr.train import build_learning_rate, build_method, build_student, load_config, read_log, run

SMALL = {"hidden_dim": 8, "skip_dim": 4, "dilations": [1, 2]}
ENCODERS = {
    "stages": {"backbone": "features:test_resnet", "aux_block": -2},
    "tokens": {
        "backbone": "vit_tiny_patch16_224",
        "backbone_options": {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    },
}


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def settings(kind: str, **changes: Any) -> OneStage:
    """Settings that fit one of the two small encoders."""
    own = {"gci": True, "decoder_head": SMALL}
    if kind == "tokens":
        own = {"gci": False, "decoder_head": {"hidden_dim": 8, "dilation": 1}}
    return OneStage(pamr_iterations=2, pamr_dilations=(1, 2), **{**own, **changes})


def student(kind: str, **changes: Any) -> SingleStageSegmenter:
    """A small network with the heads of the method, without its random parts."""
    heads = settings(kind, gate_rate=0.0, **changes).heads()
    torch.manual_seed(0)
    network = SingleStageSegmenter(3, image_size=64, heads=heads, **ENCODERS[kind]).eval()
    decoder = network.heads["segmentation"].decoder
    last = decoder.last[-1] if kind == "stages" else decoder.classifier
    with torch.no_grad():
        # Contrast, so that every class is somewhere sure.
        last.weight *= 3 / network(case()[0]).segmentation[:, 1:].std()
    return network


def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images and their labels."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return images, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


@pytest.mark.parametrize("kind", ENCODERS)
def test_heads_are_maps_behind_a_background_of_1_their_pooled_scores_and_masks(kind: str) -> None:
    network, (images, _) = student(kind), case()
    output = network(images)
    logits = output.segmentation
    assert torch.equal(logits[:, 0], torch.ones_like(logits[:, 0]))
    # A stage of stride 4 beside the encoder's own stride of 32 or the patch of 8.
    assert tuple(logits.shape) == (2, 4, *((16, 16) if kind == "stages" else (8, 8)))
    masks = masks_with_background(logits[:, 1:])[:, 1:]
    scores = normalized_global_weighted_pooling(logits[:, 1:]) + focal_mask_penalty(masks, 3, 0.01)
    assert torch.equal(output.class_logits, scores)
    assert torch.equal(output.head("maps"), masks)
    assert set(network.head_names) == {
        "class_logits",
        "segmentation",
        "tokens",
        "aux_tokens",
        "maps",
    }
    assert network.decoder is network.aux_classifier is network.projector is None


@pytest.mark.parametrize("kind", ENCODERS)
def test_terms_are_the_functions_called_by_hand(kind: str) -> None:
    network, (images, labels) = student(kind), case()
    objective = TrainingObjective(network, preset=settings(kind, pseudo_top=0.9), total_steps=10)
    output = objective(images, None, labels, step=2)

    seen = network(images)
    pixels = objective.pixels(images)
    masks = masks_with_background(seen.segmentation[:, 1:])
    refined = refine_masks(PAMR(2, (1, 2)), pixels, masks, labels)
    pseudo = confident_masks(refined, 0.9, 0.7, 0.2)
    loss = self_supervised_mask_loss(seen.segmentation[:, 1:], pseudo, labels).mean()
    assert loss > 0
    assert torch.equal(output.self_supervised_mask, loss)
    assert torch.equal(output.classification, classification_loss(seen.class_logits, labels))
    assert torch.equal(output.total, output.classification + loss)
    claimed = pseudo.sum(dim=1) > 0
    assert torch.equal(output.pseudo_labels, pseudo.argmax(dim=1).where(claimed, 255))
    assert output.seen["claimed"] == claimed.float().mean()


def test_the_mask_loss_starts_at_a_fifth_of_the_run() -> None:
    network, (images, labels) = student("tokens"), case()
    objective = TrainingObjective(network, preset=settings("tokens"), total_steps=10)
    assert [objective.weights["self_supervised_mask"](step) for step in (0, 1, 2, 9)] == [
        0,
        0,
        1,
        1,
    ]
    assert objective(images, None, labels, step=1).self_supervised_mask == 0
    assert OneStage(total_steps=25).resolve()["mask_from"] == 5


def test_nothing_outside_the_box_of_a_padded_crop_is_claimed() -> None:
    network, (images, labels) = student("tokens"), case()
    objective = TrainingObjective(network, preset=settings("tokens", pseudo_lowest=0.0))
    box = torch.tensor([[0, 64, 0, 64], [8, 64, 0, 40]])
    output = objective(images, None, labels, step=19_999, given={"box": box})
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[8:64, 0:40] = False
    assert (output.pseudo_labels[1][outside] == 255).all()
    assert (output.pseudo_labels[1][~outside] != 255).any()


@pytest.mark.parametrize("kind", ENCODERS)
def test_gradient_reaches_encoder_and_decoder_and_no_pseudo_mask(kind: str) -> None:
    network, (images, labels) = student(kind), case()
    preset = settings(kind, classification_weight=0.0, pseudo_top=0.9)
    output = TrainingObjective(network, preset=preset, total_steps=10)(images, None, labels, step=9)
    output.total.backward()
    touched = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("backbone.") for name in touched)
    assert any(name.startswith("heads.segmentation.decoder.") for name in touched)
    # The classifier of the tokens has no part in the method.
    assert all(n.startswith(("backbone.", "heads.segmentation.")) for n in touched)
    # With the pseudo masks held, the gradient is the same.
    grads = {n: p.grad.clone() for n, p in network.named_parameters() if n in touched}
    network.zero_grad()
    logits = network(images, outputs=("segmentation",)).segmentation
    pseudo = F.one_hot(output.pseudo_labels.where(output.pseudo_labels < 255, 4), 5)[..., :4]
    held = pseudo.permute(0, 3, 1, 2).float()
    self_supervised_mask_loss(logits[:, 1:], held, labels).mean().backward()
    for name, parameter in network.named_parameters():
        if name in touched:
            torch.testing.assert_close(parameter.grad, grads[name])


def test_an_encoder_without_stages_is_refused_with_gci() -> None:
    with pytest.raises(ValueError, match=r"one_stage_segmentation with gci: needs feature maps"):
        SingleStageSegmenter(
            3, image_size=64, heads=settings("stages").heads(), **ENCODERS["tokens"]
        )
    with pytest.raises(ValueError, match="one_stage: needs feature maps of several strides"):
        TrainingObjective(student("tokens"), preset=settings("stages"))


def test_another_network_is_refused_by_the_name_of_the_head() -> None:
    plain = SingleStageSegmenter(
        3, image_size=64, heads={"segmentation": None}, projection_dim=8, **ENCODERS["tokens"]
    )
    with pytest.raises(ValueError, match="the term 'self_supervised_mask' reads a head"):
        TrainingObjective(plain, preset=settings("tokens"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gci": False, "skip_dim": 8}, "heads.*unexpected keyword argument 'skip_dim'"),
        ({"shallow": 9}, "aux_block: expected -5 to 4"),
        ({"gate_rate": 1.0}, r"rate: expected a number in \[0, 1\)"),
    ],
)
def test_options_of_the_head_are_checked(options: dict[str, Any], message: str) -> None:
    heads = {"segmentation": {"kind": "one_stage_segmentation", **options}, "projections": None}
    with pytest.raises(ValueError, match=message):
        SingleStageSegmenter(3, image_size=64, heads=heads, **ENCODERS["stages"])


@pytest.mark.parametrize("name", ["one_stage_voc", "one_stage_coco"])
def test_options_hold_the_released_constants(name: str) -> None:
    config = load_config(name, overrides=["data.root=somewhere"])
    preset, optim = build_method(config), config.optim
    assert isinstance(preset, OneStage)
    assert (preset.classification_weight, preset.mask_weight, preset.mask_from) == (1.0, 1.0, 0.2)
    assert (preset.gci, preset.gate_rate) == (True, 0.3)
    assert (preset.focal_power, preset.focal_offset) == (3.0, 0.01)
    assert (preset.pamr_iterations, tuple(preset.pamr_dilations)) == (10, (1, 2, 4, 8, 12, 24))
    tops = (preset.pseudo_top, preset.pseudo_background_top, preset.pseudo_lowest)
    assert tops == (0.6, 0.7, 0.2)
    assert (optim.name, optim.lr, optim.sgd_momentum, optim.weight_decay) == (
        "sgd",
        1e-3,
        0.9,
        5e-4,
    )
    assert (optim.head_lr_scale, optim.bias_lr_scale, optim.freeze_norms) == (10.0, 2.0, True)
    rate = build_learning_rate(config)
    assert rate(0) == rate(config.steps - 1) == 1e-3
    assert (config.data.image_size, config.data.batch_size) == (320, 16)
    assert (config.views.scale, config.views.jitter_prob) == ([0.9, 1.0], 1.0)
    assert config.views.jitter == [0.3, 0.3, 0.3, 0.1]
    assert config.eval.scales == [1.0, 0.5, 1.5, 2.0]
    assert config.steps == (16_525 if name == "one_stage_voc" else 80_000)
    assert OneStage() == OneStage(**{f: getattr(preset, f) for f in ("gate_rate", "mask_from")})


def test_the_network_of_the_released_options_can_be_built() -> None:
    small = ["model.pretrained=false", "model.backbone=features:test_resnet"]
    config = load_config("one_stage_voc", overrides=["data.root=somewhere", *small])
    network = build_student(config, ["cat", "dog"])
    decoder = network.heads["segmentation"].decoder
    assert network.backbone.patch_size == (8, 8)
    assert [branch[0].dilation[0] for branch in decoder.aspp.branches] == [1, 12, 24, 36]
    assert (decoder.skip[0].out_channels, decoder.join[0].out_channels) == (48, 256)


def test_a_constant_rate_has_no_warm_up() -> None:
    with pytest.raises(ConfigError, match=r"learning_rate_warmup: expected 0 with .*constant"):
        load_config("default", overrides=["optim.schedule=constant"])


def _run(folder: Path, kind: str, *, resume: bool = False) -> dict[str, Any]:
    """Four steps, of which the last two have the mask loss."""
    more = ["preset.mask_from=0.5", "preset.pseudo_lowest=0.0"]
    more += ["preset.pseudo_top=0.99", "preset.pseudo_background_top=0.99"]
    if kind == "stages":
        more += [
            "model.backbone=features:test_resnet",
            "model.aux_block=-2",
            "preset.gci=true",
            "model.heads={segmentation: {kind: one_stage_segmentation, gate_rate: 0.3, "
            "hidden_dim: 8, skip_dim: 4, dilations: [1, 2]}}",
            "optim.name=sgd",
            "optim.lr=1e-3",
            "optim.schedule=constant",
            "optim.freeze_norms=true",
            "optim.bias_lr_scale=2.0",
        ]
    config = load_config(
        "one_stage",
        "smoke",
        overrides=[
            f"run.output={folder}",
            "steps=4",
            "data.image_size=32",
            "eval.image_size=32",
            "data.batch_size=2",
            "data.train_size=4",
            "data.eval_size=2",
            "model.pretrained=false",
            "run.checkpoint_every=2",
            "run.tensorboard=false",
            "run.sheet_images=0",
            "run.upper_bound=null",
            "eval.at_start=false",
            "eval.every=4",
            *more,
        ],
    )
    scores = run(config, resume=resume)["student"]
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return scores


def _losses(folder: Path) -> list[dict[str, Any]]:
    records = [r for r in read_log(folder / "log.jsonl") if r["kind"] == "train"]
    return [{key: r[key] for key in r if key not in ("seconds", "waited")} for r in records]


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_run_trains_evaluates_saves_and_resumes_to_the_last_bit(
    kind: str, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    scores = _run(whole, kind)
    assert 0 <= scores["prediction_miou"] <= 1
    assert 0 <= scores["cam_miou"] <= 1
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step-00000004")
    # As text: a class that no image shows has no score, and that is unlike itself.
    assert str(_run(cut, kind, resume=True)) == str(scores)
    first = _losses(whole)
    assert [r["step"] for r in first] == [1, 2, 3, 4]
    assert ["claimed" in r for r in first] == [False, False, True, True]
    assert all(r["claimed"] > 0 for r in first[2:])
    again = [r for r in _losses(cut) if r["step"] > 2]
    assert again[-2:] == first[2:]

    network = SingleStageSegmenter.load(whole / "student.safetensors")
    images = torch.randn(1, 3, 64, 96)
    probabilities = network.predict(images)
    assert probabilities.shape == (1, network.num_classes + 1, 64, 96)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 64, 96))
    final, auxiliary = network.cam(images, scales=(1.0, 0.5))
    assert final.shape == (1, network.num_classes, 64, 96)
    assert torch.equal(final, auxiliary)
