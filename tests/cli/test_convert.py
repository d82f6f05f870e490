"""Masks as files of annotation tools, by `fsr predict --format` and `fsr convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from fsr.cli import main
from fsr.data import labels_from_coco, write_label_map
from tests.cli.helpers import noise, tiny_network, write_images

NAMES = ("cat", "dog", "cow")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    tiny_network(NAMES).save(path)
    return path


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "masks"
    labels = torch.zeros(6, 8, dtype=torch.int64)
    labels[1:3, 2:5] = 2
    write_label_map(folder / "sub" / "a.png", labels)
    write_label_map(folder / "b.jpg.png", labels * 0 + 255)
    (folder.parent / "classes.txt").write_text("background\ncat\ndog\ncow\n")
    return folder


def convert(*arguments: Any) -> int:
    return main(["convert", *map(str, arguments)])


def test_predictions_are_written_for_annotation_tools_earlier_ones_too(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycocotools")
    pytest.importorskip("shapely")
    write_images(tmp_path / "in" / "sub", [(20, 30)])
    noise(16, 16).save(tmp_path / "in" / "a.jpg")
    noise(16, 16).save(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    given = ("predict", checkpoint, tmp_path / "in", "--output", out, "--scales", 1, "--no-flip")
    assert main([str(each) for each in given]) == 0
    assert not (out / "annotations").exists()
    noise(16, 16).save(tmp_path / "in" / "new.bmp")
    (tmp_path / "in" / "broken.jpg").write_text("no image")
    more = ("--resume", "--format", "coco", "cvat", "labelstudio", "yolo", "coco")
    assert main([str(each) for each in (*given, *more)]) == 1
    said = capsys.readouterr()
    assert "broken.jpg" in said.err
    assert "'a.jpg' and 'a.png' would both have the labels a.txt" in said.err
    assert said.out.count("annotations/coco.json") == 1
    files = ["a.jpg", "a.png", "new.bmp", "sub/00.png"]
    coco = json.loads((out / "annotations" / "coco.json").read_text())
    assert sorted(image["file_name"] for image in coco["images"]) == files
    assert [category["name"] for category in coco["categories"]] == list(NAMES)
    assert coco["annotations"]
    images = ElementTree.parse(out / "annotations" / "cvat.xml").findall("image")
    assert sorted(image.attrib["name"] for image in images) == files
    assert len(json.loads((out / "annotations" / "labelstudio.json").read_text())) == 4
    # What was written for a tool is read as labels.
    table = labels_from_coco(out / "annotations" / "coco.json")
    found = {row.image: row.labels for row in table.rows}
    with Image.open(out / "masks" / "sub" / "00.png") as mask:
        present = sorted(color for _, color in mask.getcolors())
    assert found["sub/00.png"] == tuple(NAMES[n - 1] for n in present if n)


def test_masks_of_any_origin_are_converted(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shapely")
    given = (masks, "--output", tmp_path / "tools", "--format", "cvat", "--polygons")
    assert convert(*given, "--simplify", 1) == 0
    assert "2 masks, 3 classes" in capsys.readouterr().out
    root = ElementTree.parse(tmp_path / "tools" / "cvat.xml").getroot()
    images = {image.attrib["name"]: list(image) for image in root.iterfind("image")}
    assert images.keys() == {"sub/a.jpg", "b.jpg"}
    (shape,) = images["sub/a.jpg"]
    assert shape.get("label") == "dog"
    assert sorted(shape.attrib["points"].split(";")) == [
        *("2.00,1.00", "2.00,3.00", "5.00,1.00", "5.00,3.00"),
    ]


def test_names_of_images_and_classes_may_be_given(masks: Path, tmp_path: Path) -> None:
    for name in ("sub/a.PNG", "b.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        noise(6, 8).save(tmp_path / "in" / name)
    given = (masks, "--output", tmp_path, "--images", tmp_path / "in", "--format", "cvat")
    assert convert(*given, "--classes", "one", "two") == 0
    root = ElementTree.parse(tmp_path / "cvat.xml").getroot()
    assert [image.get("name") for image in root.iterfind("image")] == ["b.jpg", "sub/a.PNG"]
    assert [shape.get("label") for shape in root.iter("mask")] == ["two"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda masks: (masks.parent / "classes.txt").unlink(), "expected a list of the classes"),
        (lambda masks: [path.unlink() for path in masks.rglob("*.png")], "expected masks as PNG"),
        (lambda masks: masks.rename(masks.parent / "moved"), "expected a folder of masks"),
        (lambda masks: (masks / "c.png").write_text("no image"), "c.png: "),
    ],
)
def test_what_cannot_be_converted_is_one_line(
    masks: Path, tmp_path: Path, change: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(masks)
    assert convert(masks, "--output", tmp_path / "tools", "--format", "cvat") == 1
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "tools" / "cvat.xml").exists()


def test_an_image_that_is_not_there_is_named(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    given = (masks, "--output", tmp_path, "--images", tmp_path / "in", "--format", "cvat")
    assert convert(*given) == 1
    assert "in/b.jpg: expected an image of this name, got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--format", "cvat", "--simplify", "1"], "--simplify: expected --format yolo or"),
        (["--format", "voc"], "argument --format: invalid choice: 'voc'"),
        ([], "the following arguments are required: --format"),
    ],
)
def test_wrong_options_end_with_status_two(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        convert("masks", "--output", "out", *given)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_polygons_without_a_format_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["predict", "model", "photos", "--output", "out", "--polygons"])
    assert caught.value.code == 2
    assert "--polygons: expected --format with it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "package"), [(["coco"], "pycocotools"), (["cvat", "--polygons"], "shapely")]
)
def test_a_package_that_is_not_there_is_told_before_work_begins(
    form: list[str],
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    assert (
        main(["predict", "none", "none", "--output", str(tmp_path / "o"), "--format", *form]) == 1
    )
    assert "pip install 'fsr-wsss[formats]'" in capsys.readouterr().err
