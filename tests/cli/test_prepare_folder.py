"""`fsr prepare folder`: the tables it writes, what it prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from fsr.cli import main
from fsr.data import FolderDataset, write_label_map


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photographs in a folder per class, and the same content in the other three forms."""
    boxes, annotations = tmp_path / "boxes", []
    for number in range(10):
        name = "cat" if number < 7 else "dog"
        path = tmp_path / "photos" / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(path)
        write = boxes / name / f"{number}.xml"
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text(f"<annotation><object><name>{name}</name></object></annotation>")
        mask = tmp_path / "masks" / name / f"{number}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_label_map(mask, torch.full((4, 6), 1 if name == "cat" else 2))
        annotations.append({"image_id": number, "category_id": 5 if name == "cat" else 8})
    content = {
        "images": [
            {"id": n, "file_name": f"{'cat' if n < 7 else 'dog'}/{n}.jpg"} for n in range(10)
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": annotations,
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    write_tools(tmp_path)
    return tmp_path


def write_tools(folder: Path) -> None:
    """The same ten as files of annotation tools."""
    named = [("cat" if n < 7 else "dog", f"{'cat' if n < 7 else 'dog'}/{n}") for n in range(10)]
    images = [f'<image name="{path}.jpg"><tag label="{name}"/></image>' for name, path in named]
    (folder / "cvat.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    tasks = [
        {
            "data": {"image": f"/data/local-files/?d={path}.jpg"},
            "annotations": [{"result": [{"value": {"choices": [name]}}]}],
        }
        for name, path in named
    ]
    (folder / "tasks.json").write_text(json.dumps(tasks))


COMMAND = ("prepare", "folder")
SOURCES = {
    "folders": ["photos"],
    "voc-xml": ["boxes"],
    "coco-json": ["instances.json"],
    "masks": ["masks", "--classes", "cat", "dog"],
    "cvat-xml": ["cvat.xml"],
    "labelstudio-json": ["tasks.json"],
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("form", ["list", "onehot"])
def test_every_way_gives_the_same_data_set(photos: Path, source: str, form: str) -> None:
    path, *options = SOURCES[source]
    table = photos / "made" / "labels.csv"
    arguments = [source, str(photos / path), *options, "--output", str(table), "--form", form]
    assert main([*COMMAND, *arguments]) == 0
    dataset = FolderDataset(photos / "photos", table, photos / "masks")
    assert dataset.class_names == ("cat", "dog")
    assert {sample.name: sample.labels.tolist() for sample in dataset} == {
        f"{'cat' if n < 7 else 'dog'}/{n}": [1, 0] if n < 7 else [0, 1] for n in range(10)
    }
    assert dataset.unlisted == 0


def test_it_counts_per_class_and_splits(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = photos / "labels.csv"
    arguments = ["coco-json", str(photos / "instances.json"), "--output", str(table)]
    assert main([*COMMAND, *arguments, "--classes", "dog", "--val", "0.2"]) == 0
    train, val = (FolderDataset(photos / "photos", photos / f"labels{n}.csv") for n in ("", "-val"))
    assert (len(train), len(val)) == (8, 2)
    assert not set(train.names) & set(val.names)
    assert train.class_names == val.class_names == ("dog",)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{table}: 8 images, 1 classes"
    dogs = sum(int(line.split()[-1]) for line in said if line.split()[0] == "dog")
    others = sum(int(line.split()[-1]) for line in said if line.startswith("  (no class)"))
    assert (dogs, others) == (3, 7)
    first = table.read_text()
    assert main([*COMMAND, *arguments, "--classes", "dog", "--val", "0.2"]) == 1
    again = [*arguments, "--classes", "dog", "--val", "0.2", "--overwrite"]
    assert main([*COMMAND, *again]) == 0
    assert table.read_text() == first
    assert main([*COMMAND, *again, "--seed", "1"]) == 0
    assert table.read_text() != first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folders", "none"], r"none: expected a folder, this is no such folder"),
        (["coco-json", "none.json"], r"none.json: no such file"),
        (["voc-xml", "photos"], r"photos: expected XML files, found none"),
        (["masks", "masks", "--classes", "cat"], r"7.png: expected labels in 0..1 or 255, got 2"),
        (["voc-xml", "boxes", "--classes", "owl"], r"no object is of a class to keep (owl)"),
        (["voc-xml", "boxes", "--classes", "dog;cat"], r"'dog;cat' cannot name a class"),
        (["folders", "photos", "--output", "photos"], r"photos: there is such a table"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(photos)
    assert main([*COMMAND, "--output", "labels.csv", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fsr prepare folder: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (photos / "labels.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder", "photos"], "invalid choice: 'folder'"),
        (["masks", "masks"], "masks: expected --classes NAME ..."),
        (["folders", "photos", "--classes", "cat"], "--classes: the folders name the classes"),
        (["folders", "photos", "--val", "1.5"], "--val: expected a number between 0 and 1"),
        (["folders", "photos", "--val", "0"], "--val: expected a number between 0 and 1"),
        (["folders", "photos", "--form", "json"], "invalid choice: 'json'"),
        (["folders", "photos", "--seed", "-1"], "expected at least 0, got -1"),
        (["folders", "photos", "--merge"], "--merge: only for coco-json, got folders"),
        (["voc-xml", "boxes", "--strip-folders"], "--strip-folders: only for coco-json, got voc"),
        (["coco-json", "a.json", "--filename"], "--filename: only for voc-xml, got coco-json"),
    ],
)
def test_wrong_options_end_with_status_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*COMMAND, "--output", "labels.csv", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_large_masks_are_read_when_that_is_asked_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    arguments = ["masks", str(photos / "masks"), "--classes", "cat", "dog"]
    arguments += ["--output", str(photos / "made.csv")]
    assert main([*COMMAND, *arguments]) == 1
    assert "allow it with --max-pixels 24" in capsys.readouterr().err
    assert main([*COMMAND, *arguments, "--max-pixels", "24"]) == 0


def test_what_was_done_is_noted(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, table = photos / "instances.json", photos / "l.csv"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "C:\\data\\0.jpg"
    content["categories"].append({"id": 9, "name": "dog"})
    content["categories"].append({"id": 0, "name": "background"})
    path.write_text(json.dumps(content))
    arguments = [*COMMAND, "coco-json", str(path), "--output", str(table)]
    assert main(arguments) == 1
    assert "image 0: 'file_name': expected a path inside" in capsys.readouterr().err
    assert main([*arguments, "--strip-folders"]) == 1
    assert "categories 8 and 9 are both named 'dog'; --merge" in capsys.readouterr().err
    assert main([*arguments, "--strip-folders", "--merge"]) == 0
    assert table.read_text().splitlines()[:2] == ["image,cat,dog", "0.jpg,1,0"]
    assert capsys.readouterr().err.splitlines() == [
        "fsr prepare folder: note: categories 8 and 9 are both named 'dog' and were taken for one "
        "class",
        "fsr prepare folder: note: left out 'background', which no annotation has and which stands "
        "for no class; --classes names the classes to keep",
    ]


def test_the_image_that_xml_names_may_be_taken(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = photos / "boxes" / "cat" / "0.xml", photos / "l.csv"
    path.write_text(path.read_text().replace("<object>", "<filename>x.jpg</filename><object>"))
    arguments = [*COMMAND, "voc-xml", str(photos / "boxes"), "--output", str(table)]
    assert main(arguments) == 0
    note = capsys.readouterr().err
    assert note.startswith("fsr prepare folder: note: in 1 of 10 files <filename> is another image")
    assert note.endswith("the XML's name was taken, --filename takes <filename>\n")
    assert "cat/0,1,0" in table.read_text()
    assert main([*arguments, "--overwrite", "--filename"]) == 1
    assert "1.xml: expected the name of its image in <filename>" in capsys.readouterr().err


def test_classes_of_every_image_or_none_are_told(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["masks", str(photos / "masks" / "cat"), "--classes", "cat", "dog"]
    assert main([*COMMAND, *arguments, "--output", str(photos / "labels.csv")]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 2
    assert notes[0].startswith("fsr prepare folder: note: every one of the 7 images of ")
    assert "'cat'" in notes[0]
    assert "none of the 7 images of " in notes[1]
    assert "'dog'" in notes[1]


def test_sound_sources_have_no_notes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["masks", str(photos / "masks"), "--classes", "cat", "dog"]
    assert main([*COMMAND, *arguments, "--output", str(photos / "labels.csv")]) == 0
    assert capsys.readouterr().err == ""


def test_palettes_that_were_not_made_for_labels_need_an_option(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpixel((0, 0), 0)
    image.putpalette([200, 0, 0, 0, 0, 0])
    image.save(photos / "masks" / "cat" / "0.png")
    arguments = ["masks", str(photos / "masks"), "--classes", "cat", "dog"]
    arguments += ["--output", str(photos / "labels.csv")]
    assert main([*COMMAND, *arguments]) == 1
    error = capsys.readouterr().err
    assert "index 0 of the palette of 0.png is not black but (200, 0, 0)" in error
    assert "--allow-contradictions uses them all the same" in error
    assert main([*COMMAND, *arguments, "--allow-contradictions"]) == 0
    assert "note: " in capsys.readouterr().err


def test_a_folder_of_yolo_makes_a_table(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat, dog, cow]")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n0 0 0 1 0 1 1\n")
    table = tmp_path / "labels.csv"
    given = ["yolo", str(tmp_path), "--output", str(table), "--classes", "dog", "cow"]
    assert main([*COMMAND, *given]) == 0
    assert table.read_text().splitlines() == ["image,dog,cow", "images/a,1,0"]
