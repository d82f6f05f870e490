"""Tables of image-level labels: written and read back, and built from what people have."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from fsr.data import (
    FORMS,
    FolderDataset,
    LabelTable,
    labels_from_coco,
    labels_from_folders,
    labels_from_masks,
    labels_from_voc,
    read_labels,
    split_table,
    write_labels,
)
from fsr.data._class_names import likeness
from fsr.data._label_table import LabelRow
from fsr.errors import DataError, MissingDataError

XML = """<annotation>
  <filename>whatever.jpg</filename>
  <object><name>person</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>
    <part><name>head</name></part>
  </object>
  <object><name> dog </name></object>
  <object><name>person</name></object>
</annotation>
"""


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def by_image(table: LabelTable) -> dict[str, tuple[str, ...]]:
    return {row.image: row.labels for row in table.rows}


# -- writing and reading --------------------------------------------------------------------------

# Whatever a file may be called on this system, and a class in a table.
texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12
).filter(lambda text: text == text.strip())
file_names = texts.filter(lambda text: not text.startswith(".") and len(text.encode()) < 200)
class_names = texts.filter(
    lambda text: (
        ";" not in text
        and likeness(text) not in ("image", "labels", "background", "label", "class", "")
    )
)


@given(data=st.data(), form=st.sampled_from(FORMS))
def test_what_was_written_is_read_back(data: st.DataObject, form: str) -> None:
    names = data.draw(st.lists(class_names, min_size=1, max_size=4, unique_by=likeness))
    images = data.draw(st.lists(file_names, min_size=1, max_size=5, unique=True))
    rows = [
        LabelRow(image, tuple(n for n in names if data.draw(st.booleans()))) for image in images
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        try:
            write_labels(path, rows, names, form=form)
        except DataError as error:
            assume("cannot be told from several" not in str(error))
            assume("cannot be seen" not in str(error))
            raise
        assert os.listdir(folder) == ["labels.csv"]
        table = read_labels(path, class_names=names if form == "list" else None)
    assert table.class_names == tuple(names)
    assert [(row.image, set(row.labels)) for row in table.rows] == [
        (row.image, set(row.labels)) for row in rows
    ]


@given(
    stems=st.lists(file_names, min_size=1, max_size=4, unique_by=lambda text: text.casefold()),
    suffix=st.sampled_from([".jpg", ".PNG", ".tar.bmp"]),
)
def test_a_folder_with_odd_names_is_read_by_the_table_written_for_it(
    stems: list[str], suffix: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for stem in stems:
            write_image(root / "cat, or dog" / f"{stem}{suffix}")
        table = labels_from_folders(root)
        write_labels(root / "labels.csv", table.rows, table.class_names, form="list")
        dataset = FolderDataset(root, root / "labels.csv")
        assert {sample.name for sample in dataset} == {
            f"cat, or dog/{(stem + suffix).rpartition('.')[0]}" for stem in stems
        }
        assert dataset.class_names == ("cat, or dog",)
        assert dataset.unlisted == 0


def test_the_two_forms(tmp_path: Path) -> None:
    rows = [LabelRow("a.jpg", ("dog", "cat")), LabelRow("b, c.jpg", ())]
    write_labels(tmp_path / "l.csv", rows, ("cat", "dog"), form="list")
    assert (tmp_path / "l.csv").read_text() == 'image,labels\na.jpg,cat;dog\n"b, c.jpg",\n'
    write_labels(str(tmp_path / "o.csv"), rows, ("dog", "cat", "owl"), form="onehot")
    assert (tmp_path / "o.csv").read_text() == (
        'image,dog,cat,owl\na.jpg,1,1,0\n"b, c.jpg",0,0,0\n'
    )
    assert read_labels(str(tmp_path / "o.csv")).class_names == ("dog", "cat", "owl")


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([LabelRow("a", ("cta",))], ("cat",), r"t\.csv: unknown class 'cta'; did you mean 'cat'"),
        ([LabelRow("a", ()), LabelRow("a", ())], ("cat",), r"t\.csv: 'a' is listed already; put"),
        ([LabelRow("", ())], ("cat",), r"t\.csv: expected the path of an image, got nothing"),
        ([LabelRow(" a.jpg", ())], ("cat",), r"file name ' a\.jpg' cannot be written: .*rename"),
        ([LabelRow("\udcff.jpg", ())], ("cat",), r"file name '\\udcff\.jpg' cannot be written"),
        ([], ("cat;dog",), r"'cat;dog' cannot name a class: .* without ';'"),
        ([], ("cat ",), r"'cat ' cannot name a class: .* without spaces around it"),
        ([], ("labels",), r"'labels' cannot name a class: .* other than 'image' and 'labels'"),
        ([], ("BACKGROUND",), r"'BACKGROUND' is no class"),
        ([], ("a", "b", "a"), r"expected each class once, got 'a' twice"),
        ([], (), r"expected 1 to 65534 classes, got none"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, rows: list[LabelRow], names: tuple[str, ...], message: str, form: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("what was there\n")
    with pytest.raises(DataError, match=message):
        write_labels(path, rows, names, form=form)
    assert os.listdir(tmp_path) == ["t.csv"]
    assert path.read_text() == "what was there\n"


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"form: expected one of 'list', 'onehot', got 'json'"):
        write_labels(tmp_path / "t.csv", [], ("cat",), form="json")


# -- a folder per class ---------------------------------------------------------------------------


def test_folders_name_the_classes(tmp_path: Path) -> None:
    for name in ("cat/2.jpg", "cat/deep/1.PNG", "owl/3.webp", "beside.jpg"):
        write_image(tmp_path / name)
    for name in ("cat/._2.jpg", ".git/x.jpg", "cat/.thumbs/y.jpg", "cat/notes.txt", "empty/z.txt"):
        write_text(tmp_path / name, "")
    table = labels_from_folders(str(tmp_path))
    assert table.class_names == ("cat", "owl")
    assert by_image(table) == {
        "cat/2.jpg": ("cat",),
        "cat/deep/1.PNG": ("cat",),
        "owl/3.webp": ("owl",),
    }


def test_folders_that_name_no_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"none: expected a folder, this is no such folder"):
        labels_from_folders(tmp_path / "none")
    write_image(tmp_path / "only.jpg")
    with pytest.raises(MissingDataError, match=r"expected one folder per class .*\.jpg.*none"):
        labels_from_folders(tmp_path)
    with pytest.raises(MissingDataError, match=r"only\.jpg: expected a folder, this is a file"):
        labels_from_folders(tmp_path / "only.jpg")
    write_image(tmp_path / "background" / "1.jpg")
    with pytest.raises(DataError, match=r"'background' is no class"):
        labels_from_folders(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train/cat/1.jpg", "val/dog/2.jpg"), r"train, val are no classes .* such as .*/train;"),
        (("Train/cat/1.jpg", "Train/dog/2.jpg"), r"Train are no classes .* such as .*/Train;"),
        (("train2017/1.jpg", "val2017/2.jpg"), r"train2017, val2017 .* expected a folder per cla"),
        (("training_set/a/1.jpg", "test_set/a/2.jpg"), r"test_set, training_set .* such as .*test"),
        (("cat/1.jpg", "dog/2.jpg", "test/cat/3.jpg"), r"test are no classes"),
        (("images/1.jpg", "masks/1.png"), r"images, masks are no classes"),
        (("validation/cat/1.jpg",), r"validation are no classes"),
    ],
)
def test_splits_and_kinds_of_files_are_no_classes(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    for file in files:
        write_image(tmp_path / file)
    with pytest.raises(DataError, match=message):
        labels_from_folders(tmp_path)


@pytest.mark.parametrize(
    "names", [("aeroplane", "bus", "train"), ("mask", "no mask"), ("a", "val b")]
)
def test_classes_named_like_splits_stay(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_image(tmp_path / name / "in" / "1.jpg")
    assert labels_from_folders(tmp_path).class_names == names


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("caf\u00e9", "cafe\u0301")])
def test_folders_that_look_alike_are_refused(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        write_image(tmp_path / name / "1.jpg")
    with pytest.raises(DataError, match=r"look alike, but would be two classes"):
        labels_from_folders(tmp_path)


def test_boxes_that_look_alike_are_refused_and_not_left_out(tmp_path: Path) -> None:
    write_text(tmp_path / "a.xml", XML)
    write_text(tmp_path / "b.xml", XML.replace("dog", "Dog"))
    for names in (None, ["dog"]):
        with pytest.raises(DataError, match=r"'Dog' and 'dog' look alike"):
            labels_from_voc(tmp_path, names)


# -- VOC's boxes ----------------------------------------------------------------------------------


def test_boxes_name_the_classes_and_parts_do_not(tmp_path: Path) -> None:
    write_text(tmp_path / "2007_000.1.xml", XML)
    write_text(tmp_path / "in" / "b.xml", "<annotation></annotation>")
    table = labels_from_voc(tmp_path)
    assert table.class_names == ("dog", "person")
    assert by_image(table) == {"2007_000.1": ("dog", "person"), "in/b": ()}
    assert table.notes
    kept = labels_from_voc(tmp_path, ["person", "cat"])
    assert kept.class_names == ("person", "cat")
    assert by_image(kept) == {"2007_000.1": ("person",), "in/b": ()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"a\.xml: cannot be read as XML"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", r"a\.xml: cannot be read as XML"),
        ("", r"a\.xml: cannot be read as XML"),
        ("<a><object></object></a>", r"a\.xml: expected a name in every object, got none"),
        ("<a><object><name> </name></object></a>", r"a\.xml: expected a name in every object"),
        ("<a><object><name>background</name></object></a>", r"'background' is no class"),
        ("<annotation/>", r"expected objects in some of 1 images, found none"),
        ("<annotations><image/></annotations>", r"a\.xml: expected VOC's XML, .* <annotations>$"),
        (
            '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>&x;</filename></annotation>',
            r"a\.xml: declares the entity 'x', which VOC's XML has no need of; take it out",
        ),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hosts">]><annotation>&x;</annotation>',
            r"a\.xml: declares the entity 'x'",
        ),
        (
            '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/"> %x;]><annotation/>',
            r"a\.xml: declares the entity 'x'",
        ),
        ("<annotation>&nobody;</annotation>", r"a\.xml: cannot be read as XML \(undefined entity"),
    ],
)
def test_broken_boxes_are_named(tmp_path: Path, text: str, message: str) -> None:
    write_text(tmp_path / "a.xml", text)
    with pytest.raises(DataError, match=message):
        labels_from_voc(tmp_path)


def boxes(path: Path, filename: str | None, name: str) -> None:
    said = "" if filename is None else f"<filename>{filename}</filename>"
    write_text(path, f"<annotation>{said}<object><name>{name}</name></object></annotation>")


def test_xml_that_names_another_image_is_told_and_may_be_followed(tmp_path: Path) -> None:
    boxes(tmp_path / "img0001.xml", "renamed.jpg", "cat")
    boxes(tmp_path / "b.xml", "C:\\photos\\b.JPG", "dog")
    boxes(tmp_path / "in" / "c.d.xml", "c.d", "dog")
    table = labels_from_voc(tmp_path)
    assert by_image(table) == {"b": ("dog",), "img0001": ("cat",), "in/c.d": ("dog",)}
    assert len(table.notes) == 1
    assert "in 1 of 3 files <filename> is another image" in table.notes[0]
    assert "img0001.xml: renamed.jpg" in table.notes[0]
    assert "--filename takes <filename>" in table.notes[0]
    boxes(tmp_path / "b.xml", "photos\\b.jpg", "dog")
    followed = labels_from_voc(tmp_path, filename=True)
    assert by_image(followed) == {
        "photos/b.jpg": ("dog",),
        "renamed.jpg": ("cat",),
        "in/c.d": ("dog",),
    }


def test_clean_boxes_leave_no_note(tmp_path: Path) -> None:
    boxes(tmp_path / "2007_000.1.xml", "2007_000.1.jpg", "cat")
    boxes(tmp_path / "b.xml", None, "cat")
    assert labels_from_voc(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("filename", "message"),
    [
        (None, r"a\.xml: expected the name of its image in <filename>, got none"),
        ("../x.jpg", r"a\.xml: <filename>: expected a path inside the folder of the images"),
        ("C:\\photos\\x.jpg", r"a\.xml: <filename>: expected a path inside"),
        ("b.jpg", r"b\.xml: its <filename> is 'b\.jpg', as in .*a\.xml"),
    ],
)
def test_a_filename_that_cannot_be_followed_is_named(
    tmp_path: Path, filename: str | None, message: str
) -> None:
    boxes(tmp_path / "a.xml", filename, "cat")
    boxes(tmp_path / "b.xml", "b.jpg", "cat")
    with pytest.raises(DataError, match=message):
        labels_from_voc(tmp_path, filename=True)


def test_xml_with_a_mark_or_a_namespace_is_read(tmp_path: Path) -> None:
    text = "<annotation xmlns='x'><object><name>cat</name></object></annotation>"
    (tmp_path / "a.xml").write_text(text, encoding="utf-8-sig")
    (tmp_path / "b.xml").write_text(text, encoding="utf-16")
    assert by_image(labels_from_voc(tmp_path)) == {"a": ("cat",), "b": ("cat",)}


def test_no_boxes_or_none_to_keep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"expected XML files, found none"):
        labels_from_voc(tmp_path)
    write_text(tmp_path / "a.xml", XML)
    with pytest.raises(DataError, match=r"no object .* to keep \(cat\); there are dog, person"):
        labels_from_voc(tmp_path, ["cat"])


# -- COCO's annotations ---------------------------------------------------------------------------


def coco(**changes: Any) -> dict[str, Any]:
    """Two images and a third without annotations; ids have gaps."""
    return {
        "images": [
            {"id": 9, "file_name": "b.jpg"},
            {"id": 4, "file_name": "sub/a.jpg"},
            {"id": 70, "file_name": "c.jpg"},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"image_id": 9, "category_id": 90},
            {"image_id": 9, "category_id": 3, "iscrowd": 1},
            {"image_id": 4, "category_id": 3},
            {"image_id": 4, "category_id": 3},
        ],
        **changes,
    }


def test_categories_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco()))
    table = labels_from_coco(path)
    assert table.class_names == ("cat", "zebra")
    assert [row.image for row in table.rows] == ["sub/a.jpg", "b.jpg", "c.jpg"]
    assert by_image(table) == {"sub/a.jpg": ("cat",), "b.jpg": ("cat", "zebra"), "c.jpg": ()}
    assert labels_from_coco(path, ("zebra",)).rows[0].labels == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"a\.json: cannot be read as JSON \(Expecting"),
        (
            '{"images": ' + "[" * 100_000,
            r"a\.json: cannot be read as JSON \(it is nested too deepl",
        ),
        (
            '{"images": ' + "9" * 5000 + "}",
            r"a\.json: (cannot be read as JSON|expected COCO's anno)",
        ),
        ("[]", r"a\.json: expected COCO's annotations of instances, an object with .*got a list"),
        ('{"images": []}', r"a\.json: expected .* a list 'annotations', got nothing there"),
        (coco(images=[{"id": 9}]), r"a\.json: image 9: expected text in 'file_name', got nothing"),
        (coco(images=[{"id": [], "file_name": "x"}]), r"images\[0\]: expected an integer in 'id'"),
        (coco(images=["a.jpg"]), r"images\[0\]: expected an object, got 'a\.jpg'"),
        (
            coco(images=[{"id": n, "file_name": "x"} for n in (4, 9)]),
            r"a\.json: images 4 and 9 both have the file_name 'x'",
        ),
        (
            coco(images=[{"id": n, "file_name": f} for n, f in ((4, "i\\x"), (9, "i/x"))]),
            r"a\.json: images 4 and 9 both have the file_name 'i/x'",
        ),
        (
            coco(images=[{"id": 4, "file_name": n} for n in "ab"]),
            r"images\[0\] and images\[1\] both have the id 4",
        ),
        (coco(images=[{"id": 4, "file_name": "a"}]), r"annotations\[0\]: unknown image 9"),
        (coco(categories=[{"id": 3, "name": "cat"}]), r"unknown category 90; the file has 3$"),
        (
            coco(categories=[{"id": n, "name": "cat"} for n in (3, 90)]),
            r"categories 3 and 90 are both named 'cat'; --merge \(merge=True\) takes them for one",
        ),
        (
            coco(categories=[{"id": 3, "name": "_background_"}, {"id": 90, "name": "zebra"}]),
            r"'_background_' is no class: .*; name the classes to keep without it: --classes NAME",
        ),
        (coco(annotations=[]), r"expected objects in some of 3 images, found none"),
    ],
)
def test_broken_annotations_are_named(
    tmp_path: Path, content: str | dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message):
        labels_from_coco(path)


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"none\.json: no such file"):
        labels_from_coco(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"expected a file, this is none"):
        labels_from_coco(tmp_path)


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/photos/a.jpg", "C:\\photos\\a.jpg", "\\\\server\\photos\\a.jpg"]
)
def test_paths_that_leave_the_folder_are_refused_or_cut(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.json"
    content = coco()
    content["images"][1]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a\.json: image 4: 'file_name': .* --strip-folders \(str"):
        labels_from_coco(path)
    table = labels_from_coco(path, strip_folders=True)
    assert by_image(table) == {"a.jpg": ("cat",), "b.jpg": ("cat", "zebra"), "c.jpg": ()}


def test_slashes_of_windows_in_coco_are_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = coco()
    content["images"][1]["file_name"] = "sub\\a.jpg"
    path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert [row.image for row in labels_from_coco(path).rows] == ["sub/a.jpg", "b.jpg", "c.jpg"]


def test_categories_of_one_name_are_one_class_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    categories = [{"id": 90, "name": "cat"}, {"id": 3, "name": "cat"}, {"id": 5, "name": "owl"}]
    path.write_text(json.dumps(coco(categories=categories)))
    table = labels_from_coco(path, merge=True)
    assert table.class_names == ("cat", "owl")
    assert by_image(table) == {"sub/a.jpg": ("cat",), "b.jpg": ("cat",), "c.jpg": ()}
    note = "categories 3 and 90 are both named 'cat' and were taken for one class"
    assert table.notes == (note,)
    assert labels_from_coco(path, ["cat"]).notes == (note,)


@pytest.mark.parametrize(
    "unused",
    [
        {"id": 0, "name": "Background", "supercategory": "none"},
        {"id": 7, "name": "__background__"},
        {"id": 0, "name": "animals", "supercategory": "none"},
    ],
)
def test_categories_that_stand_for_no_class_are_left_out(
    tmp_path: Path, unused: dict[str, Any]
) -> None:
    content = coco()
    for category in content["categories"]:
        category["supercategory"] = "animals"
    content["categories"].append(unused)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    table = labels_from_coco(path)
    assert table.class_names == ("cat", "zebra")
    assert [unused["name"] in note for note in table.notes] == [True]


def test_an_unused_class_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(coco(categories=[*coco()["categories"], {"id": 1, "name": "owl"}])))
    table = labels_from_coco(path)
    assert (table.class_names, table.notes) == (("owl", "cat", "zebra"), ())


# -- masks ----------------------------------------------------------------------------------------


def write_mask(path: Path, *labels: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([labels], dtype=np.uint8)).save(path)


def test_masks_tell_what_they_hold(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", 0, 2, 255)
    write_mask(tmp_path / "in" / "b.c.png", 1, 2)
    write_mask(tmp_path / "._a.png", 9)
    table = labels_from_masks(tmp_path, ["cat", "dog"])
    assert table.class_names == ("cat", "dog")
    assert by_image(table) == {"a": ("dog",), "in/b.c": ("cat", "dog")}


def no_masks(root: Path) -> None:
    write_text(root / "a.txt", "")


def black_and_white(root: Path) -> None:
    write_mask(root / "a.png", 0, 255)


def too_many_classes(root: Path) -> None:
    write_mask(root / "a.png", 0, 3)


def coloured(root: Path) -> None:
    Image.new("RGB", (2, 2)).save(root / "a.png")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (no_masks, MissingDataError, r"expected masks as PNG, found none"),
        (black_and_white, DataError, r"no mask holds a class: .* write class c as c, not as 255"),
        (too_many_classes, DataError, r"a\.png: expected labels in 0\.\.2 or 255, got 3"),
        (coloured, DataError, r"a\.png: expected a mask of class indices"),
    ],
)
def test_masks_that_tell_nothing_are_named(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    make(tmp_path)
    with pytest.raises(error, match=message):
        labels_from_masks(tmp_path, ("cat", "dog"))


# -- splitting ------------------------------------------------------------------------------------


@given(count=st.integers(2, 40), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_a_split_parts_the_rows_in_their_order(count: int, share: float, seed: int) -> None:
    table = LabelTable(("cat",), tuple(LabelRow(f"{i:03}", ()) for i in range(count)))
    rest, part = split_table(table, share, seed)
    assert abs(len(part.rows) - share * count) <= 1
    assert rest.rows
    assert part.rows
    assert sorted([*rest.rows, *part.rows]) == list(table.rows)
    assert list(rest.rows) == sorted(rest.rows)
    assert list(part.rows) == sorted(part.rows)
    assert split_table(table, share, seed) == (rest, part)


@given(counts=st.lists(st.integers(0, 30), min_size=3, max_size=3), share=st.floats(0.1, 0.9))
def test_a_split_parts_every_class_alike(counts: list[int], share: float) -> None:
    labels = [("cat",), ("dog",), ()]
    rows = tuple(
        LabelRow(f"{kind}-{i}", labels[kind]) for kind in range(3) for i in range(counts[kind] + 1)
    )
    _, part = split_table(LabelTable(("cat", "dog"), rows), share, 3)
    for kind in range(3):
        taken = sum(row.labels == labels[kind] for row in part.rows)
        exact = len(part.rows) * (counts[kind] + 1) / len(rows)
        assert abs(taken - exact) < 1 + 1e-9


def test_other_seeds_split_otherwise_and_bad_shares_are_refused() -> None:
    table = LabelTable(("cat",), tuple(LabelRow(str(i), ()) for i in range(50)))
    assert split_table(table, 0.5, 0) != split_table(table, 0.5, 1)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="share: expected a number between 0 and 1"):
            split_table(table, share, 0)
    with pytest.raises(ValueError, match=r"at least two images, got 0\.5 and 1"):
        split_table(LabelTable(("cat",), table.rows[:1]), 0.5, 0)


def test_names_of_objects_that_look_alike_are_refused_whatever_is_kept(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "Cat")):
        text = f"<annotation><object><name>{name}</name></object></annotation>"
        (tmp_path / f"{number}.xml").write_text(text)
    for kept in (None, ["cat"]):
        with pytest.raises(DataError, match=r"'Cat' and 'cat' look alike"):
            labels_from_voc(tmp_path, kept)


def test_masks_are_of_the_classes_that_the_list_beside_them_names(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    Image.new("L", (4, 4), 2).save(tmp_path / "a.png")
    assert labels_from_masks(tmp_path, ("cat", "dog")).rows[0].labels == ("dog",)
    with pytest.raises(DataError, match=r"classes\.txt: the masks in .* are of cat, dog, expected"):
        labels_from_masks(tmp_path, ("dog", "cat"))
