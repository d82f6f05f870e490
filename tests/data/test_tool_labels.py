"""Labels from files of annotation tools: CVAT's XML, Label Studio's JSON, YOLO's texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fsr.data import (
    FolderDataset,
    LabelTable,
    labels_from_coco,
    labels_from_cvat,
    labels_from_labelstudio,
    labels_from_yolo,
    write_labels,
)
from fsr.errors import DataError, MissingDataError
from fsr.formats import LabelledImage, write_annotations

READERS = {
    "coco": labels_from_coco,
    "cvat": labels_from_cvat,
    "labelstudio": labels_from_labelstudio,
    "yolo": labels_from_yolo,
}


def by_image(table: LabelTable) -> dict[str, tuple[str, ...]]:
    return {row.image: row.labels for row in table.rows}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", READERS)
def test_what_was_written_for_a_tool_is_read_as_labels(form: str, tmp_path: Path) -> None:
    pytest.importorskip("shapely")
    pytest.importorskip("pycocotools")
    images = [
        LabelledImage("sub/a.jpg", torch.tensor([[0, 2], [1, 255]])),
        LabelledImage("b c.png", torch.tensor([[0, 2]])),
        LabelledImage("none.png", torch.zeros(2, 2, dtype=torch.int64)),
    ]
    names = ("zebra", "sea lion")
    path = write_annotations(tmp_path, form, images, names)
    if form == "labelstudio":  # as a person takes the predictions over, and Label Studio exports
        tasks = json.loads(path.read_text())
        for number, task in enumerate(tasks):
            task.update(id=number, annotations=task.pop("predictions"))
        path.write_text(json.dumps(tasks))
    table = READERS[form](path, names)
    assert table.class_names == names
    found = by_image(table)
    if form == "yolo":
        images = [
            image._replace(file=f"images/{Path(image.file).with_suffix('')}") for image in images
        ]
    assert found == {
        images[0].file: names,
        images[1].file: names[1:],
        images[2].file: (),
    }


# -- CVAT -----------------------------------------------------------------------------------------


def cvat(*images: str) -> str:
    return f"<annotations><version>1.1</version><meta/>{''.join(images)}</annotations>"


def test_shapes_and_tags_of_cvat_name_the_classes(tmp_path: Path) -> None:
    shapes = "".join(
        f'<{kind} label="{label}"><attribute name="x">1</attribute></{kind}>'
        for kind, label in (("box", "dog"), ("polygon", "cat"), ("mask", "dog"), ("tag", " cow "))
    )
    text = cvat(
        f'<image id="0" name="in\\a.jpg" width="4" height="3">{shapes}</image>',
        '<image id="1" name="b.jpg" subset="train"/>',
    )
    path = write(tmp_path / "annotations.xml", text)
    table = labels_from_cvat(path)
    assert table.class_names == ("cat", "cow", "dog")
    assert by_image(table) == {"in/a.jpg": ("cat", "cow", "dog"), "b.jpg": ()}
    assert by_image(labels_from_cvat(path, ("dog",))) == {"in/a.jpg": ("dog",), "b.jpg": ()}


A = '<image id="3" name="a.jpg"><tag label="cat"/></image>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations", "cannot be read as XML"),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]>" + cvat(A), "declares the entity 'x', which CVAT's XML"),
        ("<other/>", "expected CVAT's XML, one <annotations> .* got <other>"),
        (cvat("<track/>"), "holds tracks of a video; export it as 'CVAT for images 1.1'"),
        (cvat(), "expected an <image> per image, got none"),
        (cvat(A, A), "image 'a.jpg' comes twice; export one task at a time"),
        (cvat('<image id="3"/>'), "image '3': 'name': expected the path of an image, got nothing"),
        (cvat(A.replace("a.jpg", "../a.jpg")), "image '3': 'name': expected a path inside the"),
        (cvat(A.replace("a.jpg", "C:\\a.jpg")), "image '3': 'name': expected a path inside the"),
        (cvat(A.replace(' label="cat"', "")), "image 'a.jpg': expected a label in every <tag>"),
        (cvat(A.replace("cat", "Background")), "'Background' is no class"),
        (cvat(A, A.replace("a.jpg", "b.jpg").replace("cat", "Cat")), "look alike"),
        (cvat('<image id="3" name="a.jpg"/>'), "expected objects in some of 1 images, found none"),
    ],
)
def test_xml_of_cvat_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "annotations.xml", text)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        labels_from_cvat(path)


# -- Label Studio ---------------------------------------------------------------------------------


def task(image: Any = "/data/upload/4/0a1b2c3d-a.jpg", *names: str, **more: Any) -> dict[str, Any]:
    results = [{"type": "polygonlabels", "value": {"points": [], "polygonlabels": list(names)}}]
    return {"id": 5, "data": {"image": image}, "annotations": [{"result": results}], **more}


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/upload/4/0a1b2c3d-my%20photo.jpg", "my photo.jpg"),
        ("/data/local-files/?d=sub/one%20two.jpg", "sub/one two.jpg"),
        ("http://host:8080/data/local-files/?d=sub%5Ca.jpg", "sub/a.jpg"),
        ("s3://bucket/folder/0a1b2c3d-a.jpg", "0a1b2c3d-a.jpg"),
        ("https://host/a.jpg?key=1", "a.jpg"),
        ("b/a.jpg", "a.jpg"),
    ],
)
def test_addresses_of_label_studio_are_paths(tmp_path: Path, address: str, path: str) -> None:
    file = write(tmp_path / "project.json", json.dumps([task(address, "cat")]))
    assert by_image(labels_from_labelstudio(file)) == {path: ("cat",)}


def test_choices_count_and_cancelled_ones_and_predictions_do_not(tmp_path: Path) -> None:
    def made(*names: str, **more: Any) -> dict[str, Any]:
        return {"result": [{"value": {"choices": list(names)}}, {"type": "relation"}], **more}

    tasks = [
        {"data": {"photo": "/x/a.jpg", "text": "no image"}, "annotations": [made("dog", "cat")]},
        {"data": {"image": "b.jpg"}, "annotations": [made("dog", was_cancelled=True), made("cat")]},
        {
            "data": {"image": "c.jpg"},
            "annotations": [made("dog"), made("cat", ground_truth=True)],
            "predictions": [made("cow")],
        },
        {"data": {"image": "d.jpg"}, "annotations": [], "predictions": [made("cow")]},
        {"data": {"image": "e.jpg"}, "annotations": [made("dog", "dog"), made("dog")]},
        {"data": {"image": "f.jpg"}, "annotations": [{"result": []}]},
    ]
    path = write(tmp_path / "project.json", json.dumps(tasks))
    table = labels_from_labelstudio(path)
    assert by_image(table) == {
        "a.jpg": ("cat", "dog"),
        "b.jpg": ("cat",),
        "c.jpg": ("cat",),
        "e.jpg": ("dog",),
        "f.jpg": (),
    }
    assert table.notes == (f"{path}: left out 1 of 6 images, which nobody annotated",)


TWO = [{"result": [{"value": {"choices": [name]}}]} for name in ("cat", "dog")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a list of tasks, as Label Studio exports in 'JSON'"),
        ([], "expected a list of tasks"),
        ([3], r"task \[0\]: expected 'data' with an image; export the project as 'JSON'"),
        ([{"id": 7, "image": "a.jpg"}], "task 7: expected 'data' with an image"),
        ([task(None)], "task 5: expected the address of one image in 'data', as 'image'"),
        ([task("a.jpg", "cat"), task("b/a.jpg")], "task 5: its image 'a.jpg' is that of task 5"),
        ([task("/data/local-files/?d=../a.jpg")], "task 5: 'image': expected a path inside"),
        ([task("/data/local-files/?d=/etc/a.jpg")], "task 5: 'image': expected a path inside"),
        ([task("http://[a.jpg")], "task 5: 'image': expected the name of an image, got ''"),
        ([task(annotations=TWO)], "task 5: its annotators differ: cat and dog; mark one as"),
        ([task(annotations=3)], "task 5: expected a list in 'annotations'"),
        ([task(annotations=[{"result": 3}])], "task 5: expected a list in 'result' of every"),
        (
            [task(annotations=[{"result": [{"value": {"choices": "cat"}}]}])],
            "task 5: expected a list of names in 'choices'",
        ),
        ([task(annotations=[])], "expected annotations, got 1 tasks without any"),
        ([task("a.jpg", "cat"), task("b.jpg", "Cat", id=6)], "look alike"),
    ],
)
def test_json_of_label_studio_that_cannot_be_used_is_named(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = write(tmp_path / "project.json", json.dumps(content))
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        labels_from_labelstudio(path)


# -- YOLO -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["[dog, no, 3]", "{0: dog, 1: no, 2: 3}"])
def test_texts_of_yolo_name_the_classes(tmp_path: Path, names: str) -> None:
    write(tmp_path / "data.yaml", f"train: images/train\nnc: 3\nnames: {names}\n")
    write(tmp_path / "labels/train/a.txt", "2 0.5 0.5 0.1 0.1\n\n0 0 0 1 0 1 1\n")
    write(tmp_path / "valid/labels/b.txt", "1 0.5 0.5 1e-1 0.1")
    write(tmp_path / "labels/train/empty.txt", "")
    write(tmp_path / "notes.txt", "no labels")
    for name in ("images/train/a.JPG", "images/train/plain.png", "valid/images/b.jpg", "cover.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    table = labels_from_yolo(tmp_path)
    assert table.class_names == ("dog", "no", "3")
    assert by_image(table) == {
        "images/train/a.JPG": ("dog", "3"),
        "images/train/plain.png": (),
        "valid/images/b.jpg": ("no",),
        "images/train/empty": (),
    }
    (tmp_path / "labels/train/empty.txt").unlink()
    write_labels(tmp_path / "labels.csv", labels_from_yolo(tmp_path).rows, table.class_names)
    dataset = FolderDataset(tmp_path, tmp_path / "labels.csv", class_names=table.class_names)
    assert [len(sample.labels.nonzero()) for sample in dataset] == [2, 0, 1]


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        ("names: [a", "0 0 0 1 1", "data.yaml: cannot be read as YAML"),
        ("x: &y [a]\nnames: *y", "0 0 0 1 1", r"data.yaml: holds an alias \(\*name\)"),
        ("nc: 3", "0 0 0 1 1", "data.yaml: expected the names of the classes in 'names'"),
        ("names: [[a]]", "0 0 0 1 1", "data.yaml: expected the names of the classes in 'names'"),
        ("names: {1: a, 2: b}", "1 0 0 1 1", "data.yaml: expected classes numbered 0 to 1"),
        ("names: [a, a]", "0 0 0 1 1", "data.yaml: expected each class once in 'names', got 'a'"),
        ("names: [a, A]", "0 0 0 1 1", "data.yaml: 'a' and 'A' look alike"),
        (
            "names: [a]",
            "1 0 0 1 1",
            "t.txt: line 1: expected a class of data.yaml, 0 to 0, got '1'",
        ),
        (
            "names: [a]",
            "0 0 0 1 1\na 0 0 1 1",
            "t.txt: line 2: expected a class of data.yaml, 0 to 0",
        ),
        (
            "names: [a]",
            "9" * 5000 + " 0 0 1 1",
            "t.txt: line 1: expected a class of data.yaml, 0 to 0",
        ),
        ("names: [a]", "0 0 0 1", "t.txt: line 1: expected a class and at least 4 numbers"),
        ("names: [a]", "0 0 0 1 nan", "t.txt: line 1: expected a class and at least 4 numbers"),
        ("names: [a]", "", "data.yaml: expected objects in some of 1 images"),
        ("names: ['', b]", "0 0 0 1 1", "data.yaml: '' cannot name a class"),
    ],
)
def test_a_folder_of_yolo_that_cannot_be_used_is_named(
    tmp_path: Path, data: str, text: str, message: str
) -> None:
    write(tmp_path / "data.yaml", data)
    write(tmp_path / "labels/t.txt", text)
    with pytest.raises(DataError, match=f"^{tmp_path}.*{message}"):
        labels_from_yolo(tmp_path)


def test_a_folder_of_yolo_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"data.yaml: no such file"):
        labels_from_yolo(tmp_path)
    write(tmp_path / "data.yaml", "names: [a]")
    with pytest.raises(MissingDataError, match="expected texts in a folder 'labels', found none"):
        labels_from_yolo(tmp_path)
