"""ViT-PCM: its heads, terms and views by hand, its configurations, and short runs of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.cam import filter_by_labels, join_tiles, split_tiles
from fsr.errors import ShapeError
from fsr.losses import patch_score_loss
from fsr.objective import Step, TrainingObjective
from fsr.objective._tiled import TiledViews
from fsr.objective.terms import PatchEquivariance
from fsr.pooling import patch_max
from fsr.presets import ViTPCM, get_method
from fsr.segmenter import SingleStageSegmenter
from fsr.train import (
    build_learning_rate,
    build_method,
    build_optimizer,
    build_student,
    load_config,
    read_log,
    run,
)

SIZE: dict[str, Any] = {
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 3,
    "num_heads": 2,
    "class_token": False,
    "global_pool": "",
}
SETTINGS = ViTPCM(lstm_dim=4, view_crop=0.5, view_crop_prob=0.5)
TINY = [
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}",
    "preset.lstm_dim=4",
    "optim.trained_blocks=2",
    "data.image_size=32",
    "data.train_size=8",
    "data.eval_size=2",
    "steps=4",
    "eval.every=100",
    "eval.at_start=false",
    "run.log_every=1",
    "run.checkpoint_every=2",
    "run.sheet_images=0",
    "run.tensorboard=false",
    "run.upper_bound=null",
]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make_student(settings: ViTPCM = SETTINGS) -> SingleStageSegmenter:
    torch.manual_seed(0)
    return SingleStageSegmenter(
        3, "vit_tiny_patch16_224", image_size=32, backbone_options=SIZE, heads=settings.heads()
    )


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
    return torch.randn(4, 3, 32, 32, generator=generator), labels


def computed(student: SingleStageSegmenter, settings: ViTPCM = SETTINGS, **options: Any) -> Any:
    objective = TrainingObjective(student, preset=settings, **options)
    images, labels = make_batch()
    return objective(images, None, labels, step=0, generator=torch.Generator().manual_seed(2))


# -- heads ----------------------------------------------------------------------------------------


def test_class_logits_and_maps_are_read_off_the_patches() -> None:
    student = make_student().eval()
    images, _ = make_batch()
    output = student(images, outputs=("segmentation", "class_logits", "maps", "tokens"))
    logits = output.head("segmentation")
    assert logits.shape == (4, 4, 4, 4)
    head = student.heads["segmentation"]
    tokens = output.head("tokens").transpose(1, 2).unflatten(2, (4, 4))
    assert torch.equal(logits, head.classifier(head.conditioning(tokens)))
    assert head.classifier.bias is None
    torch.testing.assert_close(output.head("maps"), logits.softmax(1)[:, 1:])
    scores = output.head("class_logits").sigmoid()
    torch.testing.assert_close(scores, logits.softmax(1).amax(dim=(2, 3))[:, 1:])


def test_a_class_counts_as_present_where_a_patch_gives_it_more_than_half() -> None:
    student = make_student().eval()
    with torch.no_grad():
        student.heads["segmentation"].classifier.weight.mul_(60)
    images, _ = make_batch()
    output = student(images, outputs=("segmentation", "class_logits"))
    present = (output.head("segmentation").softmax(1)[:, 1:] > 0.5).flatten(2).any(2)
    assert 0 < present.sum() < present.numel()
    assert torch.equal(output.head("class_logits") > 0, present)


def test_dropout_of_the_settings_works_before_conditioning_and_classifier() -> None:
    read: list[tuple[float, tuple[int, ...]]] = []
    student = make_student(ViTPCM(lstm_dim=4, head_dropout=0.25)).train()
    dropout = student.heads["segmentation"].dropout
    dropout.register_forward_hook(lambda module, args, out: read.append((module.p, args[0].shape)))
    student(make_batch()[0], outputs=("segmentation",))
    assert read == [(0.25, (4, 16, 4, 4)), (0.25, (4, 16, 4, 4))]


# -- terms ----------------------------------------------------------------------------------------


def test_every_term_is_the_pure_functions_of_the_same_tensors() -> None:
    student = make_student()
    student.heads["segmentation"].dropout.p = 0.0
    student.train()
    values = computed(student).terms()
    images, labels = make_batch()
    with_background = F.pad(labels, (1, 0), value=1)
    logits = student(images, outputs=("segmentation",)).head("segmentation")
    expected = patch_score_loss(patch_max(logits), with_background)
    torch.testing.assert_close(values["classification"], expected, rtol=0, atol=1e-6)
    weight = student.heads["segmentation"].classifier.weight
    torch.testing.assert_close(values["penalty"], weight.square().sum())
    # The second views once more, cut by hand.
    views = TiledViews(2, crop=0.5, crop_prob=0.5)
    step = Step([images], labels, student=student, generator=torch.Generator().manual_seed(2))
    tiles = views(step)
    small: list[Tensor] = []
    targets: list[Tensor] = []
    for b, (top, bottom, left, right) in enumerate(tiles.box.tolist()):
        for maps, made, factor, side in (
            (images, small, 8, 16),
            (logits.softmax(1), targets, 1, 2),
        ):
            cut = maps[b, :, top * factor : bottom * factor, left * factor : right * factor]
            cut = F.interpolate(cut[None], (side, side), mode="bilinear", align_corners=True)
            mirrored, upside_down, transposed = tiles.flips[b].tolist()
            cut = cut.flip(-1) if mirrored else cut
            cut = cut.flip(-2) if upside_down else cut
            made.append(cut.transpose(-1, -2) if transposed else cut)
    picture = join_tiles(torch.cat(small), (2, 2))
    torch.testing.assert_close(tiles.pictures, picture)
    seen = student(picture, outputs=("segmentation",)).head("segmentation").softmax(1)
    target = filter_by_labels(torch.cat(targets), with_background)
    expected = -(target * split_tiles(seen, (2, 2)).log()).sum(1).mean()
    torch.testing.assert_close(values["equivariance"], expected, rtol=0, atol=1e-5)


def test_views_are_crops_of_whole_patches_or_all_as_often_as_asked() -> None:
    student, labels = make_student(), torch.ones(400, 3)
    step = Step([torch.zeros(400, 3, 32, 32)], labels, student=student)
    torch.manual_seed(0)
    box, flips = TiledViews(2, crop=0.3, crop_prob=0.25, flip=0.75)(step)[1:]
    sides = (box[:, 1] - box[:, 0]).tolist()
    assert set(sides) == {1, 4}  # 0.3 of 4 patches is 1.2
    assert 0.19 < sides.count(1) / 400 < 0.31
    assert torch.equal(box[:, 1] - box[:, 0], box[:, 3] - box[:, 2])
    assert box[:, 0][box[:, 1] - box[:, 0] == 1].unique().tolist() == [0, 1, 2, 3]
    assert ((flips.float().mean(0) - 0.75).abs() < 0.07).all()


def test_a_crop_is_never_smaller_than_a_patch_and_none_is_drawn_at_probability_zero() -> None:
    student = make_student()
    step = Step([torch.zeros(8, 3, 32, 32)], torch.ones(8, 3), student=student)
    assert (TiledViews(crop=0.01, crop_prob=1.0)(step).box[:, 1] > 0).all()
    assert TiledViews(crop_prob=0.0)(step).box.tolist() == [[0, 4, 0, 4]] * 8


def test_targets_come_without_dropout_and_without_gradient() -> None:
    student = make_student().train()
    seen: list[tuple[bool, bool]] = []
    student.heads["segmentation"].register_forward_hook(
        lambda module, args, out: seen.append((module.training, out.requires_grad))
    )
    computed(student)
    assert seen == [(True, True), (True, True), (False, False)]
    assert student.training
    assert student.heads["segmentation"].dropout.training


@pytest.mark.parametrize("term", ["classification", "equivariance"])
def test_gradient_of_a_term_reaches_conditioning_classifier_and_encoder(term: str) -> None:
    student = make_student().train()
    computed(student).terms()[term].backward()
    head = student.heads["segmentation"]
    learning = (
        head.classifier.weight,
        head.conditioning.rows.weight_ih_l0,
        head.conditioning.columns.weight_hh_l0_reverse,
        student.backbone.model.blocks[0].mlp.fc1.weight,
    )
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learning)
    assert student.classifier.weight.grad is None


def test_gradient_of_the_penalty_reaches_the_classifier_alone() -> None:
    student = make_student()
    computed(student).terms()["penalty"].backward()
    reached = [name for name, weight in student.named_parameters() if weight.grad is not None]
    assert reached == ["heads.segmentation.classifier.weight"]


def test_weights_are_those_of_the_settings_and_zero_costs_no_pass() -> None:
    student = make_student()
    output = computed(student)
    assert output.weights == {"classification": 1.0, "equivariance": 1.0, "penalty": 0.01}
    passes: list[int] = []
    student.backbone.register_forward_hook(lambda module, args, out: passes.append(len(args[0])))
    assert computed(student, equivariance_weight=0.0).terms()["equivariance"] == 0
    assert passes == [4]


# -- what is refused ------------------------------------------------------------------------------


def test_an_encoder_of_feature_maps_is_refused_by_name() -> None:
    student = SingleStageSegmenter(3, "features:resnet18", image_size=32, heads=SETTINGS.heads())
    with pytest.raises(ValueError, match=r"vit_pcm: needs tokens of every block.*resnet18"):
        TrainingObjective(student, preset="vit_pcm")


def test_a_network_without_the_methods_heads_is_refused_by_name() -> None:
    student = SingleStageSegmenter(
        3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=SIZE
    )
    with pytest.raises(ValueError, match=r"'penalty' reads .*heads=ViTPCM\(\)\.heads\(\)"):
        TrainingObjective(student, preset="vit_pcm")


def test_images_that_cannot_be_tiled_are_refused() -> None:
    student = make_student()
    objective = TrainingObjective(student, preset=SETTINGS)
    images, labels = make_batch()
    with pytest.raises(ShapeError, match=r"view1: .* images that 2 x 2 tiles divide, got 3"):
        objective(images[:3], None, labels[:3], step=0)
    with pytest.raises(ShapeError, match=r"view1: expected square images .* got \(32, 16\)"):
        objective(images[..., :16], None, labels, step=0)
    with pytest.raises(ShapeError, match=r"patches 2 x 2 tiles divide, got \(24, 24\)"):
        objective(images[..., :24, :24], None, labels, step=0)
    with pytest.raises(ValueError, match=r"view2: expected None, as the term 'equivariance'"):
        objective(images, images, labels, step=0)
    assert PatchEquivariance(TiledViews()).needs(0).views == {2}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lstm_dim", 0, "lstm_dim: expected a positive integer, got 0"),
        ("view_tiles", 0, "view_tiles: expected a positive integer, got 0"),
        ("head_dropout", 1.5, "head_dropout: expected a number in"),
        ("view_crop_prob", -0.1, "view_crop_prob: expected a number in"),
        ("penalty_weight", -1.0, "penalty_weight: expected a number in"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_method("vit_pcm", **{field: value})


# -- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps", "epoch", "crop_prob"),
    [("vit_pcm_voc", 13_200, 165, 0.3), ("vit_pcm_coco", 101_840, 1_273, 0.0)],
)
def test_recipes_hold_the_released_constants(
    name: str, steps: int, epoch: int, crop_prob: float
) -> None:
    config = load_config(name, overrides=["data.root=somewhere"])
    assert build_method(config) == ViTPCM(total_steps=steps, view_crop_prob=crop_prob)
    preset = ViTPCM()
    assert (preset.classification_weight, preset.equivariance_weight) == (1.0, 1.0)
    assert (preset.penalty_weight, preset.lstm_dim, preset.head_dropout) == (0.01, 192, 0.2)
    assert (preset.view_tiles, preset.view_crop * 384, preset.view_flip) == (2, 128.0, 0.5)
    assert (config.steps, config.data.image_size, config.data.batch_size) == (steps, 384, 64)
    optim = config.optim
    assert (optim.name, optim.weight_decay, optim.head_lr_scale) == ("adamw", 0.0, 1.0)
    assert (optim.trained_blocks, optim.encoder_from * steps) == (5, epoch)
    rate = build_learning_rate(config)
    assert [rate(0), rate(epoch - 1), rate(epoch), rate(steps - 1)] == [1e-3, 1e-3, 1e-4, 1e-4]
    assert config.model.backbone_options["pretrained_cfg_overlay"]["mean"] == [0.5, 0.5, 0.5]
    assert (config.eval.image_size, config.eval.flip) == (960, False)


def test_the_encoder_learns_from_its_step_on_and_in_its_last_blocks_alone() -> None:
    config = load_config("vit_pcm", overrides=TINY)
    student = build_student(config, ["cat", "dog"])
    optimizer = build_optimizer(config, student)
    names = {name for group in optimizer.param_groups for name in group["parameter_names"]}
    assert not any("blocks.0." in name or "pos_embed" in name for name in names)
    assert {"backbone.model.blocks.1.mlp.fc1.weight", "backbone.model.norm.weight"} <= names
    assert {group["name"]: group.get("start") for group in optimizer.param_groups} == {
        "base": 0,
        "base_no_decay": 0,
        "head": None,
        "head_no_decay": None,
    }


# -- runs -----------------------------------------------------------------------------------------


def losses(folder: Path) -> list[dict[str, Any]]:
    """All that the log says of each step, but how long it took and waited."""
    records = [record for record in read_log(folder / "log.jsonl") if record["kind"] == "train"]
    return [{k: v for k, v in r.items() if k not in ("seconds", "waited")} for r in records]


def test_a_run_resumes_to_the_bit_and_leaves_a_network_that_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*TINY, "data.batch_size=4", "optim.encoder_from=0.5"]
    whole = load_config("vit_pcm", overrides=[*options, f"run.output={tmp_path / 'whole'}"])
    scores = run(whole)
    assert 0 <= scores["student"]["prediction_miou"] <= 1
    logged = losses(tmp_path / "whole")
    assert [record["step"] for record in logged] == [1, 2, 3, 4]
    assert {"classification", "equivariance", "penalty"} <= logged[0].keys()
    cut = load_config("vit_pcm", overrides=[*options, f"run.output={tmp_path / 'cut'}"])
    stop_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    monkeypatch.undo()
    begun = SingleStageSegmenter.load(newest(tmp_path / "cut"))
    run(cut, resume=True)
    assert losses(tmp_path / "cut") == logged
    made = SingleStageSegmenter.load(tmp_path / "cut" / "student.safetensors")
    # Heads alone in the first half, then all but the first block.
    initial = build_student(whole, [str(number) for number in range(6)])
    block = "backbone.model.blocks.{}.mlp.fc1.weight".format
    start, middle, end = (network.state_dict() for network in (initial, begun, made))
    assert torch.equal(start[block(2)], middle[block(2)])
    assert not torch.equal(middle[block(2)], end[block(2)])
    assert torch.equal(start[block(0)], end[block(0)])
    head = "heads.segmentation.classifier.weight"
    assert not torch.equal(start[head], middle[head])
    images = torch.randn(1, 3, 40, 32)
    assert made.predict(images, scales=(1.0, 1.5)).shape == (1, 7, 40, 32)
    assert made.cam(images, scales=(1.0,))[0].shape == (1, 6, 40, 32)


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run when so many steps are done."""
    from fsr.train import _loop

    advance = _loop.Run._advance

    def stopping(self: Any) -> bool:
        return advance(self) or self.step == steps

    monkeypatch.setattr(_loop.Run, "_advance", stopping)


def newest(folder: Path) -> Path:
    """Return the network of a run's only checkpoint."""
    (checkpoint,) = (folder / "checkpoints").iterdir()
    return checkpoint / "student.safetensors"
