"""SEAM as a method: terms against the functions that they call, gradients, configs, whole runs."""

from __future__ import annotations

import shutil
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

from fsr.cam import seam_normalize
from fsr.errors import InputError
from fsr.losses import classification_loss, equivariance_losses, min_pooling_loss
from fsr.objective import TrainingObjective
from fsr.presets import SEAM
from fsr.segmenter import SingleStageSegmenter
from fsr.train import build_student, load_config, read_config, read_log, run
from fsr.train._optimizer import build_optimizer

SMALL = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
TERMS = ("classification", "min_pooling", "equivariance", "cross_equivariance")


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def vit(**settings: Any) -> SingleStageSegmenter:
    torch.manual_seed(0)
    return SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=64,
        backbone_options=SMALL,
        heads=SEAM(**settings).heads(),
    )


def resnet() -> SingleStageSegmenter:
    torch.manual_seed(0)
    options = {"output_stride": 8, "layers": (1, 1, 1, 1), "zero_init_last": False}
    return SingleStageSegmenter(
        3, "features:resnet18", image_size=64, backbone_options=options, heads=SEAM().heads()
    )


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 64, 64, generator=generator), torch.tensor([[1.0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("build", [vit, resnet])
def test_terms_are_the_functions_on_maps_of_both_sizes(build: Any) -> None:
    network = build().eval()
    images, labels = batch()
    objective = TrainingObjective(network, preset="seam")
    output = objective(images, None, labels, step=0)

    # 0.3 * 64 is 19.2 pixels: 16 is the nearest that the patch divides.
    small = F.interpolate(images, (16, 16), mode="bilinear", align_corners=True)
    maps, logits = [], []
    for view in (images, small):
        made = network(view, outputs=("tokens", "class_logits", "cam", "revised", "maps"))
        scores = network.classifier(made.tokens.transpose(1, 2).unflatten(2, made.grid))
        cam, revised = made.head("cam"), made.head("revised")
        assert torch.equal(cam[:, 1:], scores)
        assert not cam[:, 0].any()
        torch.testing.assert_close(made.class_logits, scores.mean(dim=(2, 3)))
        assert torch.equal(made.head("maps"), revised[:, 1:])
        size = tuple(view.shape[2:])
        maps += [
            F.interpolate(each, size, mode="bilinear", align_corners=True)
            for each in (cam, revised)
        ]
        logits.append(made.class_logits)
    cam1, revised1, cam2, revised2 = maps
    er, ecr = equivariance_losses(cam1, revised1, cam2, revised2, labels, 0.2)
    present = labels[:, :, None, None]
    lowest = [min_pooling_loss(each[:, 1:] * present) for each in (maps[1], maps[3])]
    expected = {
        "classification": sum(classification_loss(each, labels) for each in logits) / 2,
        "min_pooling": (lowest[0] + lowest[1]) / 2,
        "equivariance": er,
        "cross_equivariance": ecr,
    }
    assert tuple(output.values) == TERMS
    for name, value in expected.items():
        torch.testing.assert_close(output.values[name], value, rtol=1e-6, atol=1e-7)
        assert float(value.detach()) > 0
    torch.testing.assert_close(output.total, sum(expected.values()))


def test_revised_maps_follow_image_and_two_earlier_blocks_without_gradient() -> None:
    network = vit().eval()
    images, _ = batch()
    head: Any = network.heads["revised"]
    read = network.backbone.read(images, None, head.request, aux_block=-3)
    # A class token stands before the 64 patches of both blocks.
    early = [tokens[:, 1:].transpose(1, 2).unflatten(2, (8, 8)) for tokens in read.block_tokens]
    assert [tokens.shape[1] for tokens in read.block_tokens] == [65, 65]
    features = torch.cat(
        [
            F.interpolate(images, (8, 8), mode="bilinear", align_corners=True),
            *(F.relu(conv(maps)) for conv, maps in zip(head.projections, early, strict=True)),
        ],
        dim=1,
    )
    assert features.shape[1] == 3 + 64 + 128
    made = network(images, outputs=("cam", "revised"))
    expected = head.correlation(seam_normalize(made.head("cam")), features)
    torch.testing.assert_close(made.head("revised"), expected)

    made.head("revised").square().sum().backward()
    reached = {name for name, value in network.named_parameters() if value.grad is not None}
    assert reached == {
        "heads.revised.projections.0.weight",
        "heads.revised.projections.1.weight",
        "heads.revised.correlation.weight",
    }


def test_every_term_reaches_what_it_should() -> None:
    network = vit(dropout=0.0)
    images, labels = batch()
    objective = TrainingObjective(network, preset="seam")
    for name in TERMS:
        network.zero_grad()
        objective(images, None, labels, step=0).values[name].backward()
        of = {key: p.grad is not None for key, p in network.named_parameters()}
        revised = name in ("min_pooling", "cross_equivariance")
        assert of["heads.revised.correlation.weight"] is revised
        # The crosswise targets are constants, and revised maps give classifier and encoder nothing.
        assert of["classifier.weight"] is not revised
        assert of["backbone.model.patch_embed.proj.weight"] is not revised


def test_dropout_leaves_out_whole_channels_in_training_alone() -> None:
    network = vit(dropout=0.5)
    images, _ = batch()
    first, second = (network(images, outputs=("cam",)).head("cam") for _ in range(2))
    assert not torch.equal(first, second)
    network.eval()
    first, second = (network(images, outputs=("cam",)).head("cam") for _ in range(2))
    assert torch.equal(first, second)


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"small_scale: expected a number in \(0.0, 1.0\)"):
        SEAM(small_scale=1.0)
    with pytest.raises(ValueError, match="hardest_share"):
        SEAM(hardest_share=1.5)
    with pytest.raises(ValueError, match=r"correlation_layers: expected 2 numbers, got \[-1\]"):
        vit(correlation_layers=(-1,))
    with pytest.raises(ValueError, match="reads a head 'revised', which the network does not have"):
        TrainingObjective(
            SingleStageSegmenter(
                3, "vit_tiny_patch16_224", image_size=64, backbone_options=SMALL, projection_dim=8
            ),
            preset="seam",
        )
    with pytest.raises(ValueError, match="at least two patches of"):
        TrainingObjective(vit(), preset="seam", small_scale=0.1)(
            batch()[0], None, batch()[1], step=0
        )


def test_another_view_never_takes_the_place_of_the_smaller_copy() -> None:
    network = vit(dropout=0.0).eval()
    images, labels = batch()
    objective = TrainingObjective(network, preset="seam")
    alone = objective(images, None, labels, step=0)
    beside = objective(images, torch.randn_like(images), labels, step=0)
    assert torch.equal(alone.total, beside.total)


def test_a_weight_of_0_leaves_a_term_out() -> None:
    objective = TrainingObjective(vit(), preset="seam", min_pooling_weight=0.0)
    images, labels = batch()
    assert float(objective(images, None, labels, step=0).values["min_pooling"]) == 0.0


@pytest.mark.parametrize(("name", "steps"), [("seam_voc", 8 * 1322), ("seam_coco", 8 * 10260)])
def test_configs_hold_the_released_constants(name: str, steps: int) -> None:
    config = read_config(name)
    preset, optim, views = config.preset, config.optim, config.views
    assert (config.steps, config.data.batch_size, config.data.image_size) == (steps, 8, 448)
    assert preset.base == "seam"
    assert [getattr(preset, f"{term}_weight") for term in TERMS] == [1.0] * 4
    assert (preset.small_scale, preset.hardest_share, preset.dropout) == (0.3, 0.2, 0.5)
    assert (preset.correlation_dim, preset.correlation_layers) == (192, [-3, -2])
    assert (optim.name, optim.lr, optim.weight_decay, optim.sgd_momentum) == ("sgd", 0.01, 5e-4, 0)
    assert (optim.head_lr_scale, optim.bias_lr_scale, optim.freeze_norms) == (10.0, 2.0, True)
    assert (optim.schedule, optim.power, preset.learning_rate_warmup) == ("warmup_poly", 0.9, 0.0)
    assert (views.jitter, views.jitter_prob) == ([0.3, 0.3, 0.3, 0.1], 1.0)
    longer = 500 if name == "seam_voc" else 640
    assert [round(longer * scale) for scale in views.rescale] == [448, 768]
    assert config.model.backbone_options == {"output_stride": 8}
    assert config.eval.cam_scales == [0.5, 1.0, 1.5, 2.0]
    assert SEAM() == SEAM(
        **{term + "_weight": 1.0 for term in TERMS},
        small_scale=0.3,
        hardest_share=0.2,
        dropout=0.5,
        correlation_dim=192,
        correlation_layers=(-3, -2),
        total_steps=10_576,
    )


def _config(folder: Path, *overrides: str) -> Any:
    tiny = (
        "steps=4 data.train_size=8 data.eval_size=2 data.image_size=48 data.batch_size=2 "
        "eval.every=4 eval.at_start=false eval.cam_scales=[1.0] eval.flip=false "
        "run.log_every=1 run.checkpoint_every=2 run.tensorboard=false run.sheet_images=1"
    )
    return load_config("seam", overrides=[*tiny.split(), f"run.output={folder}", *overrides])


def _losses(folder: Path) -> list[tuple[float, ...]]:
    records = [each for each in read_log(folder / "log.jsonl") if each["kind"] == "train"]
    return [tuple(each[name] for name in ("total", *TERMS)) for each in records]


def test_a_run_on_scenes_resumes_to_the_last_bit_and_its_network_gives_maps(tmp_path: Path) -> None:
    scores = run(_config(tmp_path / "whole"))
    assert 0 <= scores["student"]["cam_miou"] <= 1
    assert scores["student"]["prediction_miou"] != scores["student"]["prediction_miou"]  # none
    assert (tmp_path / "whole" / "sheet.png").is_file()

    cut = tmp_path / "cut"
    run(_config(cut))
    first = _losses(cut)
    shutil.rmtree(cut / "checkpoints" / "step-00000004")  # as if it had been killed before
    run(_config(cut), resume=True)
    assert first[:2] == _losses(cut)[:2]
    assert len(_losses(cut)) == 4
    assert _losses(cut) == _losses(tmp_path / "whole")

    network = SingleStageSegmenter.load(cut / "student.safetensors")
    same = SingleStageSegmenter.load(tmp_path / "whole" / "student.safetensors").state_dict()
    assert all(torch.equal(value, same[name]) for name, value in network.state_dict().items())
    images = torch.randn(1, 3, 50, 40)
    cam, auxiliary = network.cam(images, scales=(1.0, 1.5))
    assert cam.shape == (1, 6, 50, 40)
    torch.testing.assert_close(cam, auxiliary)  # there is one alone
    assert float(cam.max()) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ValueError, match="expected a network with a decoder"):
        network.predict(images)


def test_a_view_too_small_to_compare_ends_the_run_with_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="smaller view of at least two patches"):
        run(_config(tmp_path / "run", "preset.small_scale=0.2"))


def test_new_layers_learn_at_ten_times_the_rate_and_norms_stay_as_they_are() -> None:
    config = read_config("seam_voc", overrides=["model.pretrained=false"])
    network = build_student(config, ["cat", "dog"])
    groups = {group["name"]: group for group in build_optimizer(config, network).param_groups}
    assert {name: group["lr"] for name, group in groups.items()} == {"base": 0.01, "head": 0.1}
    assert groups["head"]["parameter_names"] == [
        "classifier.weight",
        "heads.revised.projections.0.weight",
        "heads.revised.projections.1.weight",
        "heads.revised.correlation.weight",
    ]
    assert not any("bn" in name for name in groups["base"]["parameter_names"])
    assert (network.backbone.patch_size, network.backbone.widths[-3:]) == (
        (8, 8),
        (512, 1024, 2048),
    )


def test_options_of_a_transformer_are_not_handed_to_an_encoder_of_feature_maps() -> None:
    kept = read_config("voc").model.backbone_options
    assert kept["class_token"] is False
    other = read_config("voc", overrides=["model.backbone=features:resnet18"])
    assert other.model.backbone_options == {}
    back = read_config("seam_voc", overrides=["model.backbone=vit_base_patch16_224"])
    assert back.model.backbone_options == {}
    same = read_config("voc", overrides=["model.backbone=vit_base_patch16_224"])
    assert same.model.backbone_options == kept
