"""MCTformer+: its heads and terms by hand, its configurations, and short runs of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.attention import class_attention_maps, fuse_maps, patch_affinity, refine_maps
from fsr.backbone import BackboneRequest
from fsr.cam import normalize_cam
from fsr.losses import class_token_separation, classification_loss
from fsr.objective import TrainingObjective
from fsr.pooling import global_weighted_ranking
from fsr.presets import MCTformerPlus, get_method
from fsr.segmenter import SingleStageSegmenter
from fsr.train import (
    build_learning_rate,
    build_method,
    build_student,
    load_config,
    read_log,
    run,
)

SIZE: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
SETTINGS = MCTformerPlus(separation_blocks=2, map_blocks=1, ranking_decay=0.9)
TINY = [
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}",
    "data.image_size=32",
    "data.train_size=8",
    "data.eval_size=2",
    "data.batch_size=4",
    "steps=4",
    "eval.every=100",
    "eval.at_start=false",
    "run.log_every=1",
    "run.checkpoint_every=2",
    "run.sheet_images=1",
    "run.tensorboard=false",
    "run.upper_bound=null",
]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make_student(settings: MCTformerPlus = SETTINGS) -> SingleStageSegmenter:
    torch.manual_seed(0)
    student = SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options=SIZE,
        heads=settings.heads(),
        class_tokens=True,
    )
    # As after training: to begin with they are copies, and everything about them is the same.
    torch.nn.init.normal_(student.backbone.model.cls_token)
    return student


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])
    return torch.randn(4, 3, 32, 32, generator=generator), labels


def computed(student: SingleStageSegmenter, **options: Any) -> Any:
    images, labels = make_batch()
    return TrainingObjective(student, preset=SETTINGS, **options)(images, None, labels, step=0)


# -- heads ----------------------------------------------------------------------------------------


def test_the_network_has_a_token_per_class_and_no_decoder() -> None:
    student = make_student()
    assert student.backbone.model.cls_token.shape == (1, 3, 16)
    assert student.decoder is student.aggregator is student.aux_classifier is None
    with pytest.raises(ValueError, match="segmentation: expected a network with a decoder"):
        student.predict(make_batch()[0])


def test_logits_and_maps_are_the_pure_functions_of_one_reading() -> None:
    student = make_student().eval()
    images, _ = make_batch()
    names = ("class_logits", "patch_logits", "patch_maps", "class_tokens", "maps")
    output = student(images, outputs=names)
    asked = BackboneRequest(prefix_tokens=True, blocks=(1, 2), attention=(0, 1, 2))
    read = student.backbone.read(images, None, asked, aux_block=-3)
    torch.testing.assert_close(output.head("class_logits"), read.prefix_tokens.mean(2))
    tokens = torch.stack([block[:, :3] for block in read.block_tokens], dim=1)
    assert output.head("class_tokens").shape == (4, 2, 3, 16)
    assert torch.equal(output.head("class_tokens"), tokens)
    # The last block's, and no norm: what the class logits are made of.
    assert torch.equal(tokens[:, -1], read.prefix_tokens)
    scores = student.heads["patch_maps"].classifier(
        read.tokens.transpose(1, 2).unflatten(2, (4, 4))
    )
    assert torch.equal(output.head("patch_maps"), scores)
    assert torch.equal(output.head("patch_logits"), global_weighted_ranking(scores, 0.9))
    maps = class_attention_maps(read.attention, 3, (4, 4), 1)
    expected = refine_maps(fuse_maps(maps, scores), patch_affinity(read.attention, 3))
    torch.testing.assert_close(output.head("maps"), expected)
    cam, auxiliary = student.cam(images, scales=(1.0,), flip=False)
    size = {"size": (32, 32), "mode": "bilinear", "align_corners": False}
    large = torch.nn.functional.interpolate(expected, **size)
    torch.testing.assert_close(cam, normalize_cam(large))
    assert torch.equal(cam, auxiliary)


def test_all_blocks_count_where_none_are_named() -> None:
    student = make_student(MCTformerPlus())
    assert student.heads["class_tokens"].request.blocks == (0, 1, 2)
    assert student.heads["maps"].blocks == 3
    assert make_student().heads["maps"].request.attention == (0, 1, 2)


# -- terms ----------------------------------------------------------------------------------------


def test_every_term_is_the_pure_function_of_the_same_tensors() -> None:
    student = make_student()
    images, labels = make_batch()
    output = computed(student)
    heads = student(images, outputs=("class_logits", "patch_logits", "class_tokens"))
    expected = {
        "classification": classification_loss(heads.head("class_logits"), labels),
        "patch_classification": classification_loss(heads.head("patch_logits"), labels),
        "separation": class_token_separation(heads.head("class_tokens").transpose(0, 1), labels),
    }
    for name, value in output.terms().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert output.weights == dict.fromkeys(expected, 1.0)
    torch.testing.assert_close(output.total, torch.stack(list(expected.values())).sum())


@pytest.mark.parametrize(
    ("term", "tokens", "patches"),
    [
        ("classification", True, False),
        ("patch_classification", True, True),
        ("separation", True, False),
    ],
)
def test_gradient_of_a_term_reaches_what_it_reads(term: str, tokens: bool, patches: bool) -> None:
    student = make_student()
    computed(student).terms()[term].backward()
    token = student.backbone.model.cls_token
    assert (token.grad is not None and bool(token.grad.abs().sum() > 0)) == tokens
    assert (student.heads["patch_maps"].classifier.weight.grad is not None) == patches
    # No final norm anywhere, and nothing of the standard classifier.
    assert student.backbone.model.norm.weight.grad is None
    assert student.classifier.weight.grad is None


def test_training_forms_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    student = make_student()
    asked: list[BackboneRequest] = []
    read = student.backbone.read

    def noting(images: Tensor, mask: Any, request: BackboneRequest, **options: Any) -> Any:
        asked.append(request)
        return read(images, mask, request, **options)

    monkeypatch.setattr(student.backbone, "read", noting)
    computed(student)
    assert [request.attention for request in asked] == [()]
    assert asked[0].blocks == (1, 2)


# -- what is refused ------------------------------------------------------------------------------


def test_encoders_without_class_tokens_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"one class token per class \(class_tokens\), which"):
        SingleStageSegmenter(
            3,
            "vit_tiny_patch16_224",
            image_size=32,
            backbone_options=SIZE,
            heads=SETTINGS.heads(),
        )
    plain = SingleStageSegmenter(
        3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=SIZE
    )
    with pytest.raises(ValueError, match=r"mctformer: needs one class token per class"):
        TrainingObjective(plain, preset="mctformer")
    options = ["model.backbone=features:resnet18", "model.pretrained=false"]
    config = load_config("mctformer", overrides=options)
    with pytest.raises(ValueError, match="class_tokens: expected a vision transformer, got 'feat"):
        build_student(config, ["cat", "dog"])


def test_a_network_without_the_methods_heads_is_refused_by_name() -> None:
    student = SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options=SIZE,
        class_tokens=True,
    )
    with pytest.raises(ValueError, match=r"'patch_classification' reads a head 'patch_logits'"):
        TrainingObjective(student, preset="mctformer")


@pytest.mark.parametrize("field", ["separation_blocks", "map_blocks"])
def test_more_blocks_than_the_encoder_has_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=r"blocks: expected 1 to the encoder's 3, or None, got 4"):
        make_student(get_method("mctformer", **{field: 4}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{field}: expected a positive integer, got 0"):
        get_method("mctformer", **{field: 0})


def test_a_decay_of_ranks_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="ranking_decay: expected a number in"):
        MCTformerPlus(ranking_decay=1.1)


# -- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps", "epoch"), [("mctformer_voc", 14_850, 330), ("mctformer_coco", 115_425, 2_565)]
)
def test_recipes_hold_the_released_constants(name: str, steps: int, epoch: int) -> None:
    config = load_config(name, overrides=["data.root=somewhere"])
    preset = build_method(config)
    assert preset == MCTformerPlus(total_steps=steps, separation_blocks=12, map_blocks=12)
    assert isinstance(preset, MCTformerPlus)
    assert (preset.classification_weight, preset.patch_classification_weight) == (1.0, 1.0)
    assert (preset.separation_weight, preset.ranking_decay) == (1.0, 0.996)
    assert preset.drop_path_rate == 0.1
    assert preset.resolve() == {"learning_rate_warmup": 5 * epoch}
    assert (config.steps, steps / epoch) == (steps, 45)
    assert (config.data.image_size, config.data.batch_size) == (448, 32)
    assert config.model.backbone == "deit_small_patch16_224.fb_in1k"
    optim, views = config.optim, config.views
    assert (optim.name, optim.weight_decay, optim.head_lr_scale) == ("adamw", 0.05, 1.0)
    rate = build_learning_rate(config)
    measured = [rate(0), rate(5 * epoch), rate(steps)]
    assert measured == pytest.approx([1e-6, 5e-4 * 32 / 512, 1e-5])
    assert (views.scale, views.flip, views.rand_augment) == ([0.08, 1.0], 0.5, True)
    assert views.jitter_prob == 0.0
    assert (config.eval.cam_scales, config.eval.flip) == ([1.0, 0.75, 1.25], True)


# -- runs -----------------------------------------------------------------------------------------


def losses(folder: Path) -> list[dict[str, Any]]:
    """All that the log says of each step, but how long it took and waited."""
    records = [record for record in read_log(folder / "log.jsonl") if record["kind"] == "train"]
    return [{k: v for k, v in r.items() if k not in ("seconds", "waited")} for r in records]


def test_a_run_resumes_to_the_bit_and_leaves_a_network_that_has_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_config("mctformer", overrides=[*TINY, f"run.output={tmp_path / 'whole'}"])
    scores = run(whole)["student"]
    assert 0 <= scores["cam_miou"] <= 1
    assert scores["prediction_miou"] != scores["prediction_miou"]  # there is no decoder
    assert (tmp_path / "whole" / "sheet.png").is_file()
    logged = losses(tmp_path / "whole")
    assert [record["step"] for record in logged] == [1, 2, 3, 4]
    assert {"classification", "patch_classification", "separation"} <= logged[0].keys()
    cut = load_config("mctformer", overrides=[*TINY, f"run.output={tmp_path / 'cut'}"])
    stop_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    monkeypatch.undo()
    run(cut, resume=True)
    assert losses(tmp_path / "cut") == logged
    made = SingleStageSegmenter.load(tmp_path / "cut" / "student.safetensors")
    assert made.backbone.class_tokens == 6
    # Copies to begin with, they have parted.
    token = made.backbone.model.cls_token[0]
    assert not torch.equal(token[0], token[1])
    cam, _ = made.cam(torch.randn(1, 3, 40, 32), scales=(1.0, 0.75))
    assert cam.shape == (1, 6, 40, 32)
    assert 0.5 < cam.amax() <= 1
    with pytest.raises(ValueError, match="export its CAMs as labels"):
        made.predict(torch.randn(1, 3, 32, 32))


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run when so many steps are done."""
    from fsr.train import _loop

    advance = _loop.Run._advance

    def stopping(self: Any) -> bool:
        return advance(self) or self.step == steps

    monkeypatch.setattr(_loop.Run, "_advance", stopping)
