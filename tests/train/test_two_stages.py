"""The way from maps to a segmenter, by the commands of docs/methods/two_stages.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.cam import cam_to_labels
from fsr.cli import main
from fsr.data import SCENE_SEEDS, Sample, Scenes, read_label_map, write_label_map
from fsr.errors import DataError, InputError
from fsr.inference import predict_paths
from fsr.segmenter import SingleStageSegmenter
from fsr.train import build_drawn, load_config, read_log, run

TINY = [
    "steps=2",
    "data.train_size=6",
    "data.eval_size=2",
    "data.image_size=48",
    "data.batch_size=2",
    "eval.every=2",
    "eval.at_start=false",
    "eval.cam_scales=[1.0]",
    "eval.flip=false",
    "run.log_every=1",
    "run.tensorboard=false",
    "run.sheet_images=0",
]
SCENES = ["--dataset", "scenes", "--scene-size", "48"]
PLAIN = ["--scales", "1", "--no-flip", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    _forget()


def _forget() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without a decoder, trained for two steps."""
    folder = tmp_path_factory.mktemp("maps") / "seam"
    assert main(["train", "--config", "seam", f"run.output={folder}", *TINY]) == 0
    _forget()
    return folder / "student.safetensors"


@pytest.fixture(scope="module")
def labels(maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of the scenes that are trained on, from its maps."""
    folder = tmp_path_factory.mktemp("labels") / "labels"
    borders = ["--source", "cam", "--low", "0.2", "--high", "0.5", "--images", "copy"]
    which = ["--split", "train", "--scenes", "6", "--output", str(folder)]
    assert main(["export", str(maps), *SCENES, *which, *borders, *PLAIN]) == 0
    return folder


def test_labels_are_those_of_the_maps_by_the_names_of_the_scenes(maps: Path, labels: Path) -> None:
    network = SingleStageSegmenter.load(maps)
    scenes = Scenes(6, seed=SCENE_SEEDS.train, image_size=48, masks=False)
    found = sorted((labels / "SegmentationClass").iterdir())
    assert [path.stem for path in found] == scenes.names
    assert len(list((labels / "JPEGImages").iterdir())) == 6
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in _normalisation(network))
    for path, sample in zip(found, scenes, strict=True):
        assert sample.name == path.stem
        pixels = torch.from_numpy(np.array(sample.image)).permute(2, 0, 1) / 255
        cam, _ = network.cam(((pixels - mean) / std)[None], scales=(1.0,), flip=False)
        expected = cam_to_labels(cam, sample.labels[None], low=0.2, high=0.5)[0]
        written = read_label_map(path, 6)
        # The maps are made of the same pixels in another order of operations.
        assert float((written == expected).float().mean()) > 0.99
    assert {255} < {int(value) for path in found for value in read_label_map(path, 6).unique()}


def _normalisation(network: SingleStageSegmenter) -> Any:
    return network.backbone.mean, network.backbone.std


def test_a_segmenter_trains_on_exported_labels_and_is_evaluated(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "segmenter"
    given = [f"data.pseudo={labels}", f"run.output={folder}", *TINY]
    assert main(["train", "--config", "default", "--config", "segmentation", *given]) == 0
    losses = [
        each["segmentation"] for each in read_log(folder / "log.jsonl") if each["kind"] == "train"
    ]
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)
    score = json.loads((folder / "results.json").read_text())["table"][-2]["prediction_miou"]
    assert 0 <= score <= 1

    capsys.readouterr()
    network = str(folder / "student.safetensors")
    some = ["--split", "test", "--scenes", "2"]
    assert main(["evaluate", network, *SCENES, *some, *PLAIN, "--output", str(tmp_path / "e")]) == 0
    assert "pred." in capsys.readouterr().out
    assert json.loads((tmp_path / "e" / "results.json").read_text())["segmentation"]["miou"] >= 0

    Scenes(1, seed=1, image_size=48)[0].image.save(tmp_path / "scene.png")
    picture, out = str(tmp_path / "scene.png"), tmp_path / "out"
    assert main(["predict", network, picture, "--output", str(out), *PLAIN]) == 0
    with Image.open(out / "masks" / "scene.png") as mask:
        assert mask.size == (48, 48)


def test_true_masks_are_never_read_where_labels_are_given(labels: Path) -> None:
    config = load_config("default", "segmentation", overrides=[f"data.pseudo={labels}", *TINY])
    drawn = build_drawn(config, "labelled", (0.5,) * 3, (0.5,) * 3, 6)
    sample = Scenes(6, seed=SCENE_SEEDS.train, image_size=48)[0]
    written = read_label_map(labels / "SegmentationClass" / f"{sample.name}.png", 6)
    kept = {*written.unique().tolist(), 255}
    other = next(value for value in range(1, 7) if value not in kept)
    false = sample._replace(target=torch.full((48, 48), other))
    assert set(drawn(false)["masks"].unique().tolist()) <= kept


def test_labels_that_are_not_there_are_told_before_the_first_step(
    labels: Path, tmp_path: Path
) -> None:
    options = [f"data.pseudo={labels}", f"run.output={tmp_path / 'run'}", *TINY]
    config = load_config("default", "segmentation", overrides=[*options, "data.train_size=9"])
    message = r"scene_202_000006.png: no such file, .*; 3 of 9 images lack one"
    with pytest.raises(InputError, match=message):
        run(config)


def test_labels_of_other_classes_are_told_before_the_first_step(tmp_path: Path) -> None:
    config = load_config("default", "segmentation", overrides=[f"data.pseudo={tmp_path}", *TINY])
    drawn = build_drawn(config, "labelled", (0.5,) * 3, (0.5,) * 3, 6)
    dataset = Scenes(1, seed=SCENE_SEEDS.train, image_size=48)
    write_label_map(tmp_path / f"{dataset[0].name}.png", torch.zeros(48, 48, dtype=torch.int64))
    named = SimpleNamespace(names=(dataset[0].name,), class_names=dataset.class_names)
    listed = tmp_path / "classes.txt"
    listed.write_text("\n".join(["background", *dataset.class_names]))
    drawn.check(named)
    listed.write_text("\n".join(["background", *dataset.class_names[::-1]]))
    with pytest.raises(DataError, match=r"classes\.txt: the masks in .* are of .*, expected "):
        drawn.check(named)


def test_labels_are_found_under_the_flat_names_of_an_export(tmp_path: Path) -> None:
    config = load_config("default", "segmentation", overrides=[f"data.pseudo={tmp_path}", *TINY])
    drawn = build_drawn(config, "labelled", (0.5,) * 3, (0.5,) * 3, 6)
    sample = Sample(Image.new("RGB", (48, 48)), torch.ones(6), None, "cats/sofa 1")
    with pytest.raises(DataError, match=r"sofa 1\.png: no such file, for the image 'cats/sofa 1'"):
        drawn(sample)
    (tmp_path / "SegmentationClass").mkdir()
    write_label_map(tmp_path / "SegmentationClass" / "cats__sofa_1.png", torch.full((48, 48), 3))
    assert {int(value) for value in drawn(sample)["masks"].unique()} <= {3, 255}


def test_a_network_without_a_decoder_is_told_what_to_do(
    maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Scenes(1, seed=1, image_size=48)[0].image.save(tmp_path / "scene.png")
    picture, out = str(tmp_path / "scene.png"), tmp_path / "out"
    told = "this network has no decoder: it gives activation maps, but no predictions; make labels"
    assert main(["predict", str(maps), picture, "--output", str(out)]) == 1
    assert told in capsys.readouterr().err
    which = ["--split", "train", "--scenes", "2", "--images", "none"]
    assert main(["export", str(maps), *SCENES, *which, "--output", str(out)]) == 1
    assert told in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(ValueError, match="--source cam --threshold"):
        predict_paths(SingleStageSegmenter.load(maps), tmp_path)


def test_its_maps_are_evaluated_all_the_same(
    maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ["--split", "test", "--scenes", "2", "--output", str(tmp_path)]
    assert main(["evaluate", str(maps), *SCENES, *some, *PLAIN, "--cam-scales", "1"]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert 0 <= found["cam"]["miou"] <= 1
    assert found["segmentation"]["miou"] is None
