"""Methods beside FSR by the same trainer: options, runs that resume, files that load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import Scenes, write_label_map
from fsr.errors import ConfigError, DataError, InputError
from fsr.segmenter import SingleStageSegmenter
from fsr.train import build_method, build_preset, load_config, read_config, run

SMALL = (
    "data.image_size=48",
    "data.train_size=8",
    "data.eval_size=2",
    "data.batch_size=2",
    "steps=4",
    "eval.at_start=false",
    "eval.every=4",
    "eval.flip=false",
    "run.tensorboard=false",
    "run.sheet_images=1",
    "run.checkpoint_every=2",
    "run.keep_checkpoints=9",
)
TOCO = ("preset.crop_size=16", "preset.crops=2", "preset.contrast_dim=8")


def losses(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timed = ("seconds", "waited")
    return [{k: v for k, v in x.items() if k not in timed} for x in lines if x["kind"] == "train"]


def cut_off_after(folder: Path, step: int) -> None:
    """Leave a run as an interruption after a step would."""
    for name in ("student.safetensors", "results.json", "sheet.png"):
        (folder / name).unlink()
    for checkpoint in (folder / "checkpoints").iterdir():
        if int(checkpoint.name.rpartition("-")[2]) > step:
            for file in checkpoint.iterdir():
                file.unlink()
            checkpoint.rmdir()


@pytest.mark.parametrize(("name", "options"), [("toco", TOCO), ("segmentation", ()), ("urn", ())])
def test_a_run_resumes_to_the_last_bit_and_leaves_a_network(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    files = ["toco"] if name == "toco" else ["default", name]
    config = load_config(*files, overrides=[*SMALL, *options, f"run.output={tmp_path / name}"])
    scores = run(config)
    folder = tmp_path / name
    assert set(scores) == {"student"}  # no teacher is made that nothing reads
    assert not (folder / "teacher.safetensors").exists()
    assert 0 <= scores["student"]["prediction_miou"] <= 1
    whole = losses(folder)
    assert len(whole) == 4
    assert all(torch.isfinite(torch.tensor(each["total"])) for each in whole)

    cut_off_after(folder, 2)
    again = run(config, resume=True)
    assert losses(folder) == whole
    assert str(again) == str(scores)  # NaN and all

    model = SingleStageSegmenter.load(folder / "student.safetensors")
    image = torch.rand(1, 3, 48, 48)
    assert model.predict(image, scales=(1.0,)).shape == (1, 7, 48, 48)
    assert [cam.shape for cam in model.cam(image)] == [(1, 6, 48, 48)] * 2
    assert json.loads((folder / "results.json").read_text())["preset"]["name"] == name


def test_the_average_of_tocos_head_is_saved_and_moves_at_the_pace_of_steps(tmp_path: Path) -> None:
    options = [*SMALL, *TOCO, "run.output=" + str(tmp_path / "a"), "data.micro_batch=1"]
    run(load_config("toco", overrides=options))
    from safetensors.torch import load_file

    state = load_file(tmp_path / "a/checkpoints/step-00000004/objective.safetensors")
    assert any(key.startswith("terms.contrast.average.") for key in state)
    settings = build_method(load_config("toco", overrides=options)).per_micro_batch(2)
    assert settings.head_momentum**2 == pytest.approx(0.9)  # type: ignore[attr-defined]


def test_pseudo_labels_and_weights_are_read_and_cut_as_their_images(tmp_path: Path) -> None:
    scenes = Scenes(8, seed=0, image_size=48, masks=True)
    for folder in ("labels", "weights"):
        (tmp_path / folder).mkdir()
    config = load_config("default", overrides=list(SMALL))
    from fsr.data import SCENE_SEEDS

    scenes = Scenes(8, seed=SCENE_SEEDS.train, image_size=48, masks=True)
    for index in range(8):
        sample = scenes[index]
        assert sample.target is not None
        write_label_map(tmp_path / "labels" / f"{sample.name}.png", sample.target)
        Image.new("L", (48, 48), 255).save(tmp_path / "weights" / f"{sample.name}.png")
    pseudo = f"data.pseudo={tmp_path / 'labels'}"
    files, own = ("default", "urn"), [*SMALL, "preset.ceiling=null", "run.sheet_images=0"]
    true = load_config(*files, overrides=[*own, f"run.output={tmp_path / 'true'}"])
    given = load_config(*files, overrides=[*own, pseudo, f"run.output={tmp_path / 'given'}"])
    assert config.data.pseudo is None
    run(true)
    run(given)
    # The same labels by another way.
    assert losses(tmp_path / "given") == losses(tmp_path / "true")
    weights = f"data.weights={tmp_path / 'weights'}"
    run(load_config(*files, overrides=[*own, pseudo, weights, f"run.output={tmp_path / 'sure'}"]))
    # Wholly trusted: the mean over all pixels in place of the labelled ones; padding has none.
    first = [losses(tmp_path / name)[0]["total"] for name in ("sure", "given")]
    assert 0 < first[0] <= first[1]
    (tmp_path / "labels" / f"{scenes[3].name}.png").unlink()
    with pytest.raises((DataError, InputError), match="no such file, for the image"):
        run(given)


def test_a_file_laid_over_another_drops_what_only_the_other_method_has() -> None:
    config = load_config("toco")
    assert config.preset.base == "toco"
    assert config.preset.mask_block is None  # of the default's FSR
    assert config.preset.pseudo_low == 0.15  # both have it
    assert config.data.name == "scenes"
    voc = read_config("toco_voc")
    assert voc.preset.mask_cam.layer is None
    assert voc.preset.crop_size == 96


def test_an_option_that_the_method_does_not_have_is_refused_where_it_is_given_with_it() -> None:
    with pytest.raises(ConfigError, match=r"preset field: expected one of .*'mask_ratio'"):
        read_config("default", overrides=["preset.base=toco", "preset.mask_ratio=0.3"])
    with pytest.raises(ConfigError, match=r"preset field: expected one of .*'mask_ratio'"):
        read_config("default", overrides=["preset.mask_ratio=0.3", "preset.base=toco"])
    with pytest.raises(ConfigError, match=r"preset: expected one of .*'tocco'"):
        read_config("default", overrides=["preset.base=tocco"])


def test_a_file_is_not_laid_over_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"over: {tmp_path / 'b.yaml'}\n")
    (tmp_path / "b.yaml").write_text(f"over: {tmp_path / 'a.yaml'}\n")
    with pytest.raises(ConfigError, match="over: a is laid over itself"):
        read_config(tmp_path / "a.yaml")


def test_presets_of_fsr_are_told_from_other_methods() -> None:
    assert build_preset(load_config()).name == "fast"
    with pytest.raises(ConfigError, match="expected a preset of FSR, got 'toco'"):
        build_preset(load_config("toco"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optim.name=adam", "optim.name: expected one of"),
        ("optim.schedule=poly", "optim.schedule: expected one of"),
        ("views.kind=three", "views.kind: expected one of"),
        ("optim.second_from=2", "optim.second_from: expected"),
    ],
)
def test_options_of_optimiser_and_views_are_refused(option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config("default", overrides=[option])


def test_labels_are_needed_where_they_are_learned_from(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,cat\na.png,1\n")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    options = [*SMALL, "data.name=folder", f"data.root={tmp_path}", f"data.labels={table}"]
    options += ["run.output=" + str(tmp_path / "run"), "data.train_size=null"]
    options += ["data.eval_size=null", "data.batch_size=1"]
    with pytest.raises((DataError, InputError), match="no label map to learn from"):
        run(load_config("default", "segmentation", overrides=options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["views.kind=one"], "fast reads a second view, which 'one' does not give"),
        (["preset.base=toco", "views.kind=padded"], "toco reads a second view"),
        (["preset.base=segmentation", "views.kind=two"], "segmentation reads label maps"),
    ],
)
def test_views_that_a_method_lacks_are_refused_by_name(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"views.kind: {message}"):
        read_config("default", overrides=options)


def test_more_views_than_a_method_reads_are_no_fault() -> None:
    assert read_config("default", overrides=["views.kind=padded_and_second"]).views.kind


RELEASED: dict[str, dict[str, Any]] = {
    "toco_voc": {
        "steps": 20_000,
        "data.batch_size": 4,
        "data.image_size": 448,
        "views.rescale": [0.5, 2.0],
        "views.scale": [0.4, 1.0],
        "preset.contrast_temperature": 0.5,
        "preset.contrast_dim": 1024,
        "preset.contrast_weight": 0.5,
        "preset.affinity_weight": 0.2,
        "preset.segmentation_weight": 0.1,
        "preset.energy_weight": 0.05,
        "preset.crops": 8,
        "preset.crop_size": 96,
        "preset.pseudo_low": 0.25,
        "preset.pseudo_high": 0.7,
        "preset.segmentation_from": 0.1,
        "optim.lr": 6e-5,
        "optim.weight_decay": 0.01,
        "optim.power": 0.9,
        "optim.head_lr_scale": 10.0,
    },
    "toco_coco": {
        "steps": 80_000,
        "data.batch_size": 8,
        "preset.contrast_temperature": 1.0,
        "preset.pseudo_high": 0.65,
        "preset.contrast_from": 0.15,
        "preset.affinity_from": 0.15,
        "preset.final_labels_from": 0.15,
        "preset.segmentation_from": 0.1,
        "eval.cam_threshold": 0.45,
    },
}


@pytest.mark.parametrize("name", RELEASED)
def test_configs_hold_the_released_constants(name: str) -> None:
    config = read_config(name)
    for option, value in RELEASED[name].items():
        found: Any = config
        for part in option.split("."):
            found = getattr(found, part)
        assert found == value, option
    settings = build_method(config)
    assert settings.learning_rate_warmup_steps() == 1500
    assert settings.learning_rate_warmup_ratio == 1e-6  # type: ignore[attr-defined]


def test_a_network_tells_where_its_labels_hold_and_urn_learns_from_that(tmp_path: Path) -> None:
    from fsr.cli import main
    from fsr.refine import response_scaling_uncertainty, uncertainty_weights

    small = [*SMALL, "run.sheet_images=0", "data.train_size=2", "data.batch_size=1", "steps=1"]
    run(load_config("default", "urn", overrides=[*small, f"run.output={tmp_path / 'one'}"]))
    network, sure = tmp_path / "one/student.safetensors", tmp_path / "sure"
    command = ["export", str(network), "--dataset", "scenes", "--split", "train", "--scenes", "2"]
    command += ["--scene-size", "48", "--images", "none", "--scales", "1.0", "--no-flip"]
    command += ["--uncertainty", "--output", str(sure)]
    assert main(command) == 0
    assert main([*command[:-3], "--source", "cam", "--threshold", "0.3", *command[-3:]]) != 0

    from fsr.data import SCENE_SEEDS

    model = SingleStageSegmenter.load(network)
    scene = Scenes(2, seed=SCENE_SEEDS.train, image_size=48)[1]
    pixels = torch.from_numpy(np.array(scene.image)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    scores = model.predict((pixels - mean) / std, scales=(1.0,), flip=False)[0]
    scores = scores * torch.cat([torch.ones(1), scene.labels])[:, None, None]  # those not there
    scores = scores / scores.sum(0)
    expected = uncertainty_weights(response_scaling_uncertainty(scores))
    with Image.open(sure / "Certainty" / f"{scene.name}.png") as image:
        assert np.array_equal(np.array(image), expected.numpy())

    again = [f"data.pseudo={sure / 'SegmentationClass'}", f"data.weights={sure / 'Certainty'}"]
    run(load_config("default", "urn", overrides=[*small, *again, f"run.output={tmp_path / 'two'}"]))
    assert len(losses(tmp_path / "two")) == 1
