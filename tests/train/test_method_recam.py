"""ReCAM as a method, and runs that start from a network that was trained before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.cam import recam
from fsr.errors import InputError
from fsr.losses import classification_loss, recam_loss
from fsr.objective import TrainingObjective
from fsr.presets import ReCAM
from fsr.segmenter import SingleStageSegmenter
from fsr.train import build_student, load_config, read_config, read_log, run
from fsr.train._optimizer import build_optimizer

SMALL = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
TERMS = ("classification", "reactivation")


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def network(**settings: Any) -> SingleStageSegmenter:
    torch.manual_seed(0)
    return SingleStageSegmenter(
        5,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options=SMALL,
        heads=ReCAM(**settings).heads(),
    )


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    return torch.randn(2, 3, 32, 32, generator=generator), labels


def test_terms_and_maps_are_the_functions_on_the_last_features() -> None:
    student = network()
    images, labels = batch()
    output = TrainingObjective(student, preset="recam")(images, None, labels, step=0)

    tokens = student(images, outputs=("tokens",)).tokens
    features = tokens.transpose(1, 2).unflatten(2, (4, 4))
    first, second = student.classifier.weight, student.heads["predictor"].linear.weight
    scores = student.classifier(features)
    loss, accuracy = recam_loss(features, first, second, labels)
    assert tuple(output.values) == TERMS
    torch.testing.assert_close(output.reactivation, loss)
    assert torch.equal(output.class_accuracy, accuracy)
    classified = classification_loss(scores.mean(dim=(2, 3)), labels)
    torch.testing.assert_close(output.classification, classified)
    torch.testing.assert_close(output.total, classified + loss)

    student.eval()
    maps = student(images, outputs=("maps",)).head("maps")
    torch.testing.assert_close(maps, recam(features, first, second))


def test_the_gradient_reaches_encoder_classifier_and_predictor() -> None:
    student = network()
    images, labels = batch()
    objective = TrainingObjective(student, preset="recam")
    parts = (
        "backbone.model.patch_embed.proj.weight",
        "classifier.weight",
        "heads.predictor.linear.weight",
    )
    for name, reached in (("reactivation", (1, 1, 1)), ("classification", (1, 1, 0))):
        student.zero_grad()
        objective(images, None, labels, step=0).values[name].backward()
        gradients = {key: value.grad for key, value in student.named_parameters()}
        found = [gradients[part] is not None and bool(gradients[part].any()) for part in parts]
        assert found == [bool(each) for each in reached]


def test_without_its_weight_it_trains_a_cam_network() -> None:
    student = network(reactivation_weight=0.0)
    assert "maps" not in student.head_names
    images, labels = batch()
    output = TrainingObjective(student, preset="recam", reactivation_weight=0.0)(
        images, None, labels, step=0
    )
    assert float(output.reactivation) == 0.0
    torch.testing.assert_close(output.total, output.classification)
    with pytest.raises(ValueError, match="'reactivation' reads a head 'predictor'"):
        TrainingObjective(student, preset="recam")


@pytest.mark.parametrize(("name", "images"), [("recam_voc", 10_582), ("recam_coco", 82_081)])
def test_configs_hold_the_released_constants(name: str, images: int) -> None:
    config = read_config(name)
    optim = config.optim
    assert config.steps == images // 16 * 4
    assert (config.data.batch_size, config.data.image_size) == (16, 512)
    assert (config.preset.classification_weight, config.preset.reactivation_weight) == (1.0, 1.0)
    assert optim.lr * optim.head_lr_scale == pytest.approx(5e-4)
    assert optim.lr * optim.classifier_lr_scale == optim.lr == pytest.approx(5e-5)
    assert (optim.name, optim.sgd_momentum, optim.weight_decay) == ("sgd", 0.0, 1e-4)
    assert (optim.schedule, optim.power, optim.freeze_norms) == ("warmup_poly", 0.9, True)
    assert config.model.backbone_options == {"output_stride": 16}
    longer = 500 if name == "recam_voc" else 640
    assert [round(longer * scale) for scale in config.views.rescale] == [320, 640]
    assert (config.eval.cam_threshold, config.eval.cam_scales) == (0.21, [1.0, 0.5, 1.5, 2.0])

    first = read_config(f"{name}_cam")
    assert first.steps == images // 16 * 5
    assert first.preset.reactivation_weight == 0.0
    assert (first.optim.lr, first.optim.classifier_lr_scale) == (0.1, 10.0)
    assert (first.data.image_size, first.optim.weight_decay) == (512, 1e-4)


def test_the_predictor_learns_at_ten_times_the_rate_of_the_rest() -> None:
    options = "model.backbone=fsr_scenes_tiny model.pretrained=false data.image_size=96"
    config = read_config("recam_voc", overrides=options.split())
    optimizer = build_optimizer(config, build_student(config, ["cat", "dog"]))
    rates = {
        name: group["lr"] for group in optimizer.param_groups for name in group["parameter_names"]
    }
    assert rates["heads.predictor.linear.weight"] == pytest.approx(5e-4)
    others = {rate for name, rate in rates.items() if not name.startswith("heads.predictor")}
    assert others == {5e-5}


def _config(folder: Path, *overrides: str) -> Any:
    tiny = (
        "steps=4 data.train_size=8 data.eval_size=2 data.image_size=48 data.batch_size=2 "
        "eval.every=4 eval.at_start=false eval.cam_scales=[1.0] eval.flip=false "
        "run.log_every=1 run.checkpoint_every=2 run.tensorboard=false run.sheet_images=1"
    )
    return load_config("recam", overrides=[*tiny.split(), f"run.output={folder}", *overrides])


def _losses(folder: Path) -> list[tuple[float, ...]]:
    records = [each for each in read_log(folder / "log.jsonl") if each["kind"] == "train"]
    return [tuple(each[name] for name in ("total", *TERMS)) for each in records]


@pytest.fixture(scope="module")
def cam_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cam") / "run"
    run(_config(folder, "preset.reactivation_weight=0", "steps=1"))
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return folder / "student.safetensors"


def test_a_run_starts_from_a_cam_network_and_resumes_to_the_last_bit(
    tmp_path: Path, cam_network: Path
) -> None:
    told: list[str] = []
    options = (f"model.start={cam_network}",)
    scores = run(_config(tmp_path / "whole", *options), tell=told.append)
    assert 0 <= scores["student"]["cam_miou"] <= 1
    (line,) = [each for each in told if each.startswith("started from")]
    assert line.startswith(f"started from {cam_network}: ")
    assert line.endswith("; not there: heads.predictor (1 tensor)")
    first = next(iter(read_log(tmp_path / "whole" / "log.jsonl")))
    assert 0 <= first["class_accuracy"] <= 1

    cut = tmp_path / "cut"
    run(_config(cut, *options))
    shutil.rmtree(cut / "checkpoints" / "step-00000004")  # as if it had been killed before
    run(_config(cut, *options), resume=True)
    assert len(_losses(cut)) == 4
    assert _losses(cut) == _losses(tmp_path / "whole")

    loaded = SingleStageSegmenter.load(cut / "student.safetensors")
    cam, _ = loaded.cam(torch.randn(1, 3, 50, 40), scales=(1.0, 1.5))
    assert cam.shape == (1, 6, 50, 40)
    with pytest.raises(ValueError, match="expected a network with a decoder"):
        loaded.predict(torch.randn(1, 3, 50, 40))


def test_the_start_gives_every_weight_of_a_name_and_leaves_the_rest(cam_network: Path) -> None:
    fresh = build_student(_config(Path("unused")), _names(cam_network))
    started = build_student(
        _config(Path("unused"), f"model.start={cam_network}"), _names(cam_network)
    )
    saved = SingleStageSegmenter.load(cam_network).state_dict()
    for name, value in started.state_dict().items():
        assert torch.equal(value, saved[name] if name in saved else fresh.state_dict()[name])
    assert not torch.equal(fresh.classifier.weight, started.classifier.weight)


def _names(path: Path) -> tuple[str, ...]:
    names = SingleStageSegmenter.load(path).class_names
    assert names is not None
    return names


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.start=nowhere.safetensors", "model.start: no file 'nowhere.safetensors'"),
        ("model.start={readme}", "model.start: .* is no safetensors file"),
        (
            "model.start={cam} model.backbone=vit_tiny_patch16_224 model.pretrained=false",
            r"model.start: expected backbone.mask_token of \(1, 1, 192\), .* has \(1, 1, 128\)",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_by_name(
    option: str, message: str, tmp_path: Path, cam_network: Path
) -> None:
    readme = tmp_path / "readme"
    readme.write_text("no network")
    given = option.format(cam=cam_network, readme=readme).split()
    with pytest.raises(InputError, match=message):
        run(_config(tmp_path / "run", *given))


def test_a_start_of_other_classes_is_refused(cam_network: Path) -> None:
    config = _config(Path("unused"), f"model.start={cam_network}")
    with pytest.raises(ValueError, match=r"has the classes .*, but the network a, b, c, d, e, f"):
        build_student(config, list("abcdef"))
