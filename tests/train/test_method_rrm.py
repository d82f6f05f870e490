"""RRM: its terms by hand, whom the gradient reaches, its files of options, and whole runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

for package in ("accelerate", "omegaconf", "pydensecrf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr._core.boxes import outside_box
from fsr.cam import class_activation_maps, resize_cam, sum_sizes
from fsr.losses import DenseEnergyLoss, classification_loss, joint_cross_entropy, prototype_loss
from fsr.objective import TrainingObjective
from fsr.objective.recipes import rrm_recipe
from fsr.optim import set_learning_rate
from fsr.presets import RRM
from fsr.refine import CRF_PRESETS, CRFPool, DenseCRF, reliable_labels
from fsr.segmenter import SingleStageSegmenter, scaled_size
from fsr.train import (
    _step,
    build_learning_rate,
    build_method,
    build_student,
    load_config,
    read_log,
    run,
)

SMALL = {"feature_dim": 8, "feature_dilation": 1, "classifier_dropout": 0.0}
ENCODERS = {
    "stages": {"backbone": "features:test_resnet", "aux_block": -2},
    "tokens": {
        "backbone": "vit_tiny_patch16_224",
        "backbone_options": {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    },
}
BOX = torch.tensor([[0, 64, 0, 64], [8, 56, 0, 40]])
LABELS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def student(kind: str) -> SingleStageSegmenter:
    """A small network with the heads of the method."""
    torch.manual_seed(0)
    heads = RRM(**SMALL).heads()
    return SingleStageSegmenter(3, image_size=64, heads=heads, **ENCODERS[kind]).eval()


def images() -> Tensor:
    """Two images."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def objective_of(network: SingleStageSegmenter, **changes: Any) -> TrainingObjective:
    """The objective of a run of ten steps, five of them joint."""
    return TrainingObjective(network, preset=RRM(**SMALL, **changes), total_steps=10)


def cam_by_hand(network: SingleStageSegmenter, view: Tensor, grid: tuple[int, int]) -> Tensor:
    """The CAM of the regions, scale by scale."""
    maps = []
    for scale in (1.0, 0.5, 1.5, 2.0):
        size = scaled_size((64, 64), scale, network.backbone.patch_size)
        scaled = F.interpolate(view, size=size, mode="bilinear", align_corners=False)
        output = network(scaled, outputs=("tokens",))
        raw = class_activation_maps(output.tokens, network.classifier.weight, output.grid)
        maps.append(resize_cam(raw, grid))
    return sum_sizes([sum(maps) / 4], (64, 64)).detach()


@pytest.mark.parametrize("kind", ENCODERS)
def test_heads_are_averaged_scores_and_two_dilated_convolutions(kind: str) -> None:
    network = student(kind)
    output = network(images())
    mean = output.tokens.mean(dim=1)
    scores = network.classifier(mean[:, :, None, None])[..., 0, 0]
    torch.testing.assert_close(output.class_logits, scores)
    height, width = output.grid
    maps = output.tokens.transpose(1, 2).unflatten(2, (height, width))
    features = F.relu(network.heads["segmentation_features"].conv(maps))
    assert torch.equal(output.head("segmentation_features"), features)
    assert torch.equal(output.segmentation, network.heads["segmentation"].conv(features))
    assert output.segmentation.shape == (2, 4, height, width)
    released = RRM().heads()
    assert released["segmentation_features"]["dilation"] == released["segmentation"]["dilation"]
    assert network.decoder is network.aux_classifier is network.projector is None


@pytest.mark.parametrize("kind", ENCODERS)
def test_terms_are_the_functions_called_by_hand(kind: str) -> None:
    network = student(kind)
    objective = objective_of(network, prototype_weight=0.5, energy_weight=2.0)
    output = objective(images(), None, LABELS, step=5, given={"box": BOX})

    seen, pixels = network(images()), objective.pixels(images())
    cam = cam_by_hand(network, images(), seen.grid)
    torch.testing.assert_close(output.cam, cam)
    labels = reliable_labels(CRFPool(DenseCRF("rrm"), 0), pixels, output.cam, LABELS, BOX)
    assert torch.equal(output.pseudo_labels, labels)
    outside = outside_box(BOX, 64, 64)
    assert (labels[outside] == 255).all()
    assert (labels[~outside] != 255).any()
    assert output.seen["reliable"] == (labels != 255).float().mean()

    assert torch.equal(output.classification, classification_loss(seen.class_logits, LABELS))
    assert torch.equal(output.segmentation, joint_cross_entropy(seen.segmentation, labels))
    assert output.segmentation > 0
    energy = DenseEnergyLoss()(255 * pixels, seen.segmentation, labels, ~outside)
    assert torch.equal(output.energy, energy)
    assert energy < 0
    apart = prototype_loss(seen.segmentation, seen.head("segmentation_features"))
    assert torch.equal(output.prototypes, apart)
    total = output.classification + output.segmentation + 2.0 * energy + 0.5 * apart
    torch.testing.assert_close(output.total, total)


def test_the_first_half_is_classification_alone() -> None:
    network = student("tokens")
    objective = objective_of(network)
    assert objective.recipe.names == ("classification", "segmentation", "energy")
    for name in ("segmentation", "energy"):
        assert [objective.weights[name](step) for step in (0, 4, 5, 9)] == [0, 0, 1, 1]
    output = objective(images(), None, LABELS, step=4)
    assert torch.equal(output.total, output.classification)
    assert "reliable" not in output.seen


def test_gradient_of_the_joint_loss_reaches_features_and_encoder_not_the_cam() -> None:
    network = student("tokens")
    objective = objective_of(network, classification_weight=0.0)
    output = objective(images(), None, LABELS, step=5, given={"box": BOX})
    output.total.backward()
    touched = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert {n.partition(".")[0] for n in touched} == {"backbone", "heads"}
    assert "heads.segmentation.conv.weight" in touched
    assert "heads.segmentation_features.conv.weight" in touched
    # The labels come from the classifier, which learns by its own loss alone.
    assert "classifier.weight" not in touched
    assert not output.cam.requires_grad


def test_the_networks_mode_is_restored_after_the_cams_own_passes() -> None:
    network = student("tokens").train()
    objective_of(network)(images(), None, LABELS, step=5)
    assert all(module.training for module in network.modules())


def test_the_crf_is_that_of_the_released_code_inside_the_step() -> None:
    part = objective_of(student("tokens"), crf_workers=3).terms["segmentation"].labels
    assert part.pool.workers == 3
    assert part.pool.crf.settings == CRF_PRESETS["rrm"]
    assert part.source.scales == (1.0, 0.5, 1.5, 2.0)


def test_without_the_extra_it_is_refused_when_it_is_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(ImportError, match=r"fsr-wsss\[crf\]"):
        objective_of(student("tokens"))


def test_bad_combinations_are_refused_by_name() -> None:
    plain = SingleStageSegmenter(3, image_size=64, projection_dim=8, **ENCODERS["tokens"])
    with pytest.raises(ValueError, match="the term 'prototypes' reads a head"):
        objective_of(plain, prototype_weight=1.0)
    blind = SingleStageSegmenter(
        3, image_size=64, heads={**RRM().heads(), "segmentation": None}, **ENCODERS["tokens"]
    )
    with pytest.raises(ValueError, match="the term 'segmentation' reads a head 'segmentation'"):
        objective_of(blind)
    with pytest.raises(ValueError, match="crf_workers"):
        RRM(crf_workers=-1)
    with pytest.raises(ValueError, match="dilation"):
        SingleStageSegmenter(
            3, image_size=64, heads=RRM(feature_dilation=0).heads(), **ENCODERS["tokens"]
        )


@pytest.mark.parametrize("name", ["rrm_voc", "rrm_coco"])
def test_options_hold_the_released_constants(name: str) -> None:
    config = load_config(name, overrides=["data.root=somewhere"])
    preset, optim = build_method(config), config.optim
    assert isinstance(preset, RRM)
    weights = (preset.classification_weight, preset.segmentation_weight, preset.energy_weight)
    assert (*weights, preset.prototype_weight) == (1.0, 1.0, 1.0, 0.0)
    assert preset.joint_from == 0.5
    assert tuple(preset.cam_scales) == (1.0, 0.5, 1.5, 2.0)
    assert (preset.feature_dim, preset.feature_dilation, preset.classifier_dropout) == (
        512,
        12,
        0.5,
    )
    energy = (preset.energy_sigma_rgb, preset.energy_sigma_xy, preset.energy_scale)
    assert energy == (15.0, 100.0, 0.5)
    assert (optim.name, optim.sgd_momentum, optim.weight_decay) == ("sgd", 0.0, 5e-4)
    assert (optim.head_lr_scale, optim.bias_lr_scale, optim.freeze_norms) == (10.0, 2.0, True)
    assert (config.data.image_size, config.data.batch_size) == (448, 8)
    assert (config.views.jitter, config.views.jitter_prob) == ([0.3, 0.3, 0.3, 0.1], 1.0)
    # A long side of 256 to 512 of 500 pixels on VOC, of 640 on COCO.
    long = 500 if name == "rrm_voc" else 640
    assert [round(scale * long) for scale in config.views.rescale] == [256, 512]
    rate, half = build_learning_rate(config), config.steps // 2
    assert (rate(0), rate(half), rate(config.steps)) == (0.01, 7e-4, 0.0)
    assert rate(half // 2) == pytest.approx(0.01 * 0.5**0.9)
    assert rate(half - 1) < 1e-5
    assert config.steps == (24 * (10_582 // 8) if name == "rrm_voc" else 80_000)
    own = {f: getattr(preset, f) for f in ("joint_from", "energy_scale", "feature_dim")}
    assert RRM() == RRM(**own)


def test_the_network_of_the_released_options_can_be_built() -> None:
    small = ["model.pretrained=false", "model.backbone=features:test_resnet"]
    config = load_config("rrm_voc", overrides=["data.root=somewhere", *small])
    network = build_student(config, ["cat", "dog"])
    assert network.backbone.patch_size == (8, 8)
    assert network.heads["segmentation"].conv.dilation == (12, 12)


def _run(folder: Path, kind: str, *, resume: bool = False) -> dict[str, Any]:
    """Four steps, the last two joint; those of an encoder of stages with the released optimiser."""
    more = (
        []
        if kind == "tokens"
        else [
            "model.backbone=features:test_resnet",
            "model.aux_block=-2",
            "optim.name=sgd",
            "optim.lr=0.01",
            "optim.second_lr=7e-4",
            "optim.sgd_momentum=0.0",
            "optim.freeze_norms=true",
            "optim.bias_lr_scale=2.0",
        ]
    )
    config = load_config(
        "rrm",
        "smoke",
        overrides=[
            f"run.output={folder}",
            "steps=4",
            "data.image_size=32",
            "data.batch_size=2",
            "data.train_size=4",
            "data.eval_size=2",
            "preset.feature_dim=8",
            "model.pretrained=false",
            "run.checkpoint_every=2",
            "run.tensorboard=false",
            "run.sheet_images=0",
            "run.upper_bound=null",
            "eval.at_start=false",
            "eval.every=4",
            "eval.image_size=32",
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
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[list[float]] = []

    def watched(optimizer: Any, lr: float, step: int, *, scaled: bool) -> None:
        set_learning_rate(optimizer, lr, step, scaled=scaled)
        rates.append(sorted({group["lr"] for group in optimizer.param_groups}))

    monkeypatch.setattr(_step, "set_learning_rate", watched)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    scores = _run(whole, kind)
    assert 0 <= scores["prediction_miou"] <= 1
    # The parts of the network have rates of their own in the first half alone. A ResNet's only
    # biases are those of its norms, which are frozen.
    base, second = (0.01, 7e-4) if kind == "stages" else (5e-4, 5e-4)
    own = (1, 10, 20) if kind == "stages" else (1, 10)
    assert rates[0] == pytest.approx([base * scale for scale in own])
    assert rates[2] == [second]
    assert rates[3] == pytest.approx([second * 0.5**0.9])

    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step-00000004")
    # As text: a class that no image shows has no score, and that is unlike itself.
    assert str(_run(cut, kind, resume=True)) == str(scores)
    first = _losses(whole)
    assert [r["step"] for r in first] == [1, 2, 3, 4]
    assert ["reliable" in r for r in first] == [False, False, True, True]
    again = [r for r in _losses(cut) if r["step"] > 2]
    assert again[-2:] == first[2:]

    network = SingleStageSegmenter.load(whole / "student.safetensors")
    probabilities = network.predict(torch.randn(1, 3, 64, 96))
    assert probabilities.shape == (1, network.num_classes + 1, 64, 96)
    final, _ = network.cam(torch.randn(1, 3, 64, 96), scales=(1.0, 0.5))
    assert final.shape == (1, network.num_classes, 64, 96)


def test_the_exact_crf_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    recipe: Any = rrm_recipe(RRM(crf_backend="torch"), None)  # type: ignore[arg-type]
    assert recipe.terms["segmentation"].term.labels.pool.crf.backend == "torch"
    with pytest.raises(ValueError, match="crf_backend: expected one of 'pydensecrf', 'torch', "):
        RRM(crf_backend="exact")  # type: ignore[arg-type]
