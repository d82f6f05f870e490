"""`fsr export`: label maps of a data set from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from fsr.cli import main
from fsr.data import VOC2012
from fsr.data._files import read_label_map
from fsr.data._voc_classes import VOC_CLASSES
from fsr.inference import export_pseudo_labels
from fsr.segmenter import SingleStageSegmenter
from tests.cli.helpers import noise, tiny_network
from tests.helpers import assert_same

ONCE: dict[str, Any] = {"scales": (1.0,), "cam_scales": (1.0,), "flip": False}


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return tiny_network(VOC_CLASSES)


@pytest.fixture(scope="module")
def checkpoint(model: SingleStageSegmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    return path


def write_voc(root: Path) -> VOC2012:
    """Write four photographs and masks as VOC 2012 has them."""
    for name in ("JPEGImages", "ImageSets/Segmentation", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    names = [f"2007_{index:06}" for index in range(4)]
    for index, (name, height) in enumerate(zip(names, (32, 29, 32, 17), strict=True)):
        noise(height, 40, index).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        target = np.zeros((height, 40), np.uint8)
        target[0, 0], target[0, 1] = index + 1, index + 8
        Image.fromarray(target).save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("".join(f"{n}\n" for n in names))
    return VOC2012(root, "train", masks=False)


def masks(folder: Path) -> dict[str, Tensor]:
    """Return the label maps that were written."""
    found = sorted((folder / "SegmentationClass").glob("*.png"))
    return {path.stem: read_label_map(path, len(VOC_CLASSES)) for path in found}


def export(*arguments: Any) -> int:
    return main(["export", *map(str, arguments)])


def test_it_exports_what_the_function_does(
    model: SingleStageSegmenter,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_voc(tmp_path / "official")
    fixed = ("--dataset", "voc", "--root", tmp_path / "official", "--split", "train")
    out = tmp_path / "out"
    more = ("--output", out, "--scales", 1, "--no-flip", "--device", "cpu", "--confidence", 0.5)
    assert export(checkpoint, *fixed, *more) == 0
    assert f"4 masks written into {out}, 0 were there before" in capsys.readouterr().out
    export_pseudo_labels(model, data, tmp_path / "by_hand", confidence=0.5, **ONCE)
    assert_same(list(masks(out).values()), list(masks(tmp_path / "by_hand").values()))
    assert len(VOC2012(out, "train")) == 4
    settings = json.loads((out / "settings.json").read_text())
    assert settings["checkpoint"] == str(checkpoint)
    assert export(checkpoint, *fixed, *more) == 0
    assert "0 masks written" in capsys.readouterr().out
    assert export(checkpoint, *fixed, *more[:-1], 0.6) == 1
    assert "confidence was 0.5, now 0.6" in capsys.readouterr().err


def test_it_tells_broken_samples_at_the_end(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_voc(tmp_path / "official")
    broken = tmp_path / "official/JPEGImages/2007_000001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    fixed = ("--dataset", "voc", "--root", tmp_path / "official", "--split", "train")
    more = ("--source", "cam", "--threshold", 0.4, "--scales", 1, "--no-flip", "--device", "cpu")
    assert export(checkpoint, *fixed, *more, "--output", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "3 masks written" in said.out
    assert "fsr export: error: dataset: sample 1 ('2007_000001')" in said.err
    assert list(masks(tmp_path / "out")) == ["2007_000000", "2007_000002", "2007_000003"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--source", "cam"], 2, "source 'cam' needs high and low or threshold, got none"),
        (["--source", "cam", "--threshold", "0.5", "--confidence", "0.5"], 2, "without --crf"),
        (["--confidence", "1.5"], 2, "expected a number from 0 to 1, got 1.5"),
        (["--split", "none"], 1, "split: expected a list"),
    ],
)
def test_it_refuses_wrong_input_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    write_voc(tmp_path / "official")
    fixed = ("--dataset", "voc", "--root", tmp_path / "official", "--output", tmp_path / "out")
    try:
        got = export(checkpoint, *fixed, *arguments)
    except SystemExit as error:
        got = int(error.code or 0)
    said = capsys.readouterr().err
    assert got == status
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
