"""`fsr evaluate` on files in the real layouts, and on what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.cli import main
from fsr.data import SCENE_SEEDS, Scenes, write_label_map
from fsr.inference import evaluate, result_table
from fsr.segmenter import SingleStageSegmenter

FAST = ["--scales", "1", "--cam-scales", "1", "--no-flip"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "model.safetensors", ("cat", "dog"))


def save(path: Path, names: tuple[str, ...]) -> Path:
    torch.manual_seed(0)
    model = SingleStageSegmenter(
        len(names),
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    )
    model.save(path, class_names=names)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> list[str]:
    draw = np.random.default_rng(0)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for index in range(4):
        pixels = draw.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"photo {index}.jpg")
        target = torch.zeros(30, 40, dtype=torch.long)
        target[5:20, 5:20] = 1 + index % 2
        write_label_map(masks / f"photo {index}.png", target)
    rows = "".join(f"photo {i}.jpg,{('cat', 'dog')[i % 2]}\n" for i in range(4))
    (tmp_path / "labels.csv").write_text("image,labels\n" + rows)
    labels = str(tmp_path / "labels.csv")
    return ["--dataset", "folder", "--root", str(images), "--labels", labels, "--masks", str(masks)]


def test_a_folder_is_scored_and_everything_is_recorded(
    tmp_path: Path, checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    arguments = [str(checkpoint), *folder, *FAST, "--pseudo", "--sweep", "--trimap"]
    assert main(["evaluate", *arguments, "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "cat" in shown
    assert "4 images" in shown
    content = json.loads((output / "results.json").read_text())
    assert content["options"]["scales"] == [1.0]
    assert len(content["checkpoint"]["sha256"]) == 64
    assert torch.__version__.startswith(content["versions"]["torch"])
    assert len(content["cam_sweep"]) == 99
    assert content["segmentation"]["iou"].keys() == {"background", "cat", "dog"}
    assert Image.open(output / "cam_thresholds.png").size[0] > 300
    assert not (output / "counts.safetensors").exists()


def test_a_crf_without_an_extension(
    checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(checkpoint), *folder, *FAST, "--crf", "torch"]) == 0
    assert "pred.+CRF" in capsys.readouterr().out


def test_a_broken_photograph_stops_it_or_is_named(
    tmp_path: Path, checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "images" / "photo 2.jpg"
    path.write_bytes(path.read_bytes()[:300])
    assert main(["evaluate", str(checkpoint), *folder, *FAST]) == 1
    assert "photo 2.jpg" in capsys.readouterr().err
    output = tmp_path / "results"
    arguments = [str(checkpoint), *folder, *FAST, "--skip-broken", "--output", str(output)]
    assert main(["evaluate", *arguments]) == 1
    assert "WARNING: 1 samples" in capsys.readouterr().out
    content = json.loads((output / "results.json").read_text())
    assert content["skipped_names"] == ["photo 2"]
    assert content["images"] == 3


def test_masks_of_stored_pixels_are_scored_as_stored(
    tmp_path: Path, checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "images" / "photo 0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)
    assert main(["evaluate", str(checkpoint), *folder, *FAST]) == 1
    assert "as they are stored: --as-stored (data.orient=false in" in capsys.readouterr().err
    output = ["--output", str(tmp_path / "results")]
    assert main(["evaluate", str(checkpoint), *folder, *FAST, "--as-stored", *output]) == 0
    content = json.loads((tmp_path / "results" / "results.json").read_text())
    assert (content["images"], content["without_mask"]) == (4, 0)
    assert "orient=False" in content["data"]


def test_what_cannot_be_evaluated_is_one_line(
    tmp_path: Path, checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pickled = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(1)}, pickled)
    other = save(tmp_path / "other.safetensors", ("cat", "cow"))
    three = save(tmp_path / "three.safetensors", ("a", "b", "c"))
    cases = [
        ([str(pickled), *folder], "pickle"),
        ([str(tmp_path / "no.safetensors"), *folder], "no.safetensors"),
        ([str(three), "--dataset", "scenes"], "a model of 3 classes"),
        ([str(other), *folder], "unknown class 'dog'"),
        ([str(checkpoint), "--dataset", "voc"], "--root: expected the folder of --dataset voc"),
        ([str(checkpoint), "--dataset", "voc", "--root", str(tmp_path)], "JPEGImages"),
    ]
    for arguments, message in cases:
        assert main(["evaluate", *arguments, *FAST]) == 1, message
        error = capsys.readouterr().err
        assert error.startswith("fsr evaluate: error: ")
        assert error[len("fsr evaluate: error: ")] not in "\"'", "a message, not its repr"
        assert error.count("\n") == 1
        assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--low", "0.9"], "--low: expected less than --high 0.7, got 0.9"),
        (["--device", "mars"], "--device: expected cpu, cuda, cuda:1, ..., got 'mars'"),
        (["--scenes", "0"], "--scenes: expected at least 1, got 0"),
        (["--workers", "-1"], "--workers: expected at least 0, got -1"),
        (["--cam-threshold", "2"], "--cam-threshold: expected a number from 0 to 1, got 2"),
        (["--crf", "fast"], "--crf: invalid choice: 'fast'"),
    ],
)
def test_wrong_options_end_with_status_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "model.safetensors", "--dataset", "scenes", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_scores_of_scenes_are_those_of_the_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Scenes(3, seed=SCENE_SEEDS.test, image_size=96)
    path = save(tmp_path / "scenes.safetensors", dataset.class_names)
    arguments = [str(path), "--dataset", "scenes", "--scenes", "3", *FAST]
    assert main(["evaluate", *arguments, "--split", "test"]) == 0
    once = {"scales": (1.0,), "cam_scales": (1.0,), "flip": False}
    expected = evaluate(SingleStageSegmenter.load(path), dataset, **once)
    assert capsys.readouterr().out == result_table(expected, dataset.class_names) + "\n"
    assert main(["evaluate", *arguments, "--split", "valid"]) == 1
    assert capsys.readouterr().err == (
        "fsr evaluate: error: --split: scenes have pretrain, pretrain_check, train, tune, test, "
        "got 'valid'\n"
    )


def test_masks_that_contradict_the_labels_are_refused_before_the_network_runs(
    tmp_path: Path, checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    target = torch.zeros(30, 40, dtype=torch.long)
    target[:5] = 2
    write_label_map(tmp_path / "masks" / "photo 0.png", target)
    assert main(["evaluate", str(checkpoint), *folder, *FAST]) == 1
    said = capsys.readouterr()
    *table, error = said.err.splitlines()
    assert [line.split() for line in table] == [
        ["image", "labels", "mask"],
        ["photo", "0", "cat", "dog"],
    ]
    assert "1 of 4 masks hold a class that the labels of their image do not name" in error
    assert error.endswith("--allow-contradictions uses them all the same")
    assert said.out == ""
    options = [*folder, *FAST, "--allow-contradictions"]
    assert main(["evaluate", str(checkpoint), *options]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith("WARNING: ")
    assert "4 images" in said.out


def test_sound_masks_are_scored_without_a_remark(
    checkpoint: Path, folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(checkpoint), *folder, *FAST]) == 0
    said = capsys.readouterr()
    assert "mask" not in (said.out + said.err).lower()
