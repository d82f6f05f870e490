"""Folders in VOC's layout that other tools and people write: their classes, masks and lists."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import VOC2012, check_class_list
from fsr.data._voc_classes import VOC_CLASSES, read_class_list
from fsr.errors import DataError, MissingDataError

WIDTH, HEIGHT = 6, 4
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:10,20,30::\ndog:128,0,0:ear:run\n"


def make(root: Path, masks: str = "SegmentationClass", images: Sequence[str] = ("a", "b")) -> Path:
    """Write images that show label 1, label 2 and so on, and the list of them."""
    for folder in ("JPEGImages", masks, "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for label, name in enumerate(images, start=1):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (WIDTH, HEIGHT), label).save(root / masks / f"{name}.png")
    listed(root, *images)
    return root


def listed(root: Path, *lines: str) -> None:
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(lines) + "\n")


def shown(dataset: VOC2012) -> list[list[str]]:
    """Names of the classes of each image."""
    return [
        [dataset.class_names[c] for c in dataset.load_labels(i).nonzero().flatten().tolist()]
        for i in range(len(dataset))
    ]


def paint(path: Path, *colours: tuple[int, int, int]) -> None:
    """Write a mask of colours, a column each, the last one to the right end."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for column, colour in enumerate(colours):
        pixels[:, column:] = colour
    Image.fromarray(pixels).save(path)


# -- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "background\ncat\ndog\n"),
        ("classes.txt", "cat\ndog"),
        ("classes.txt", "\ufeffbackground\r\ncat\r\ndog\r\n\r\n"),
        ("class_names.txt", "_background_\ncat\ndog\n"),
        ("class_names.txt", "__ignore__\n_background_\ncat\ndog\n"),
        ("labelmap.txt", CVAT),
        ("labelmap.txt", "background:::\n\ncat:::\ndog:::\n"),
    ],
)
@pytest.mark.parametrize("masks", ["SegmentationClass", "SegmentationClassPNG"])
def test_classes_that_the_folder_lists_are_taken(
    tmp_path: Path, name: str, text: str, masks: str
) -> None:
    root = make(tmp_path, masks)
    (root / name).write_text(text, encoding="utf-8", newline="")
    dataset = VOC2012(root, "train")
    assert dataset.class_names == ("cat", "dog")
    assert shown(dataset) == [["cat"], ["dog"]]
    target = dataset[1].target
    assert target is not None
    assert target.unique().tolist() == [2]
    assert dataset.load_labels(0).shape == (2,)


def test_a_list_in_utf_16_is_read(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "classes.txt").write_text("background\ncat\ndog\n", encoding="utf-16")
    assert VOC2012(root, "train").class_names == ("cat", "dog")


def test_without_a_list_the_classes_are_those_of_voc_or_as_asked(tmp_path: Path) -> None:
    root = make(tmp_path)
    assert VOC2012(root, "train").class_names == VOC_CLASSES
    assert shown(VOC2012(root, "train", class_names=["cat", "dog"])) == [["cat"], ["dog"]]
    (root / "classes.txt").write_text("background\nowl\nfox\n")
    with pytest.raises(
        DataError, match=r"class_names: expected those of .*classes.txt, owl, fox, "
    ):
        VOC2012(root, "train", class_names=["cat", "dog"])
    assert VOC2012(root, "train", class_names=["owl", "fox"]).class_names == ("owl", "fox")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"classes.txt": "background\ncat\n\ndog\n"}, r"classes.txt: line 3: expected the name of"),
        ({"classes.txt": ""}, r"classes.txt: line 1: expected the name of a class, got nothing"),
        ({"classes.txt": "cat\nbackground\n"}, r"classes.txt: line 2: expected 'background' in t"),
        ({"classes.txt": "background\ncat\ncat\n"}, r"classes.txt: expected each class once"),
        ({"classes.txt": "background\n"}, r"classes.txt: expected 1 to 65534 classes, got none"),
        ({"labelmap.txt": "# nothing\n"}, r"labelmap.txt: expected 1 to 65534 classes, got none"),
        ({"labelmap.txt": "cat:1,2::\n"}, r"labelmap.txt: line 1: expected a colour r,g,b .*'1,2'"),
        ({"labelmap.txt": "cat:1,2,256::\n"}, r"numbers in 0..255, got '1,2,256'"),
        ({"labelmap.txt": "cat:1,2,3::\ndog:1,2,3::\n"}, r"line 2: 'dog' has the colour of anoth"),
        (
            {"classes.txt": "background\ncat\ndog\n", "labelmap.txt": "dog:::\ncat:::\n"},
            r"classes.txt and labelmap.txt list other classes, cat, dog and dog, cat; take out",
        ),
    ],
)
def test_lists_that_cannot_be_used_are_named(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    make(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        VOC2012(tmp_path, "train")


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"classes.txt: expected text in UTF-8; save it in that"):
        VOC2012(tmp_path, "train")


def test_masks_that_lie_with_a_list_are_of_its_classes(tmp_path: Path) -> None:
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    check_class_list(masks, ["cat", "dog"])
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    check_class_list(masks, ["cat", "dog"])
    check_class_list(tmp_path, ["cat", "dog"])
    for names in (["dog", "cat"], ["cat"]):
        with pytest.raises(DataError, match=r"classes.txt: the masks in .* are of cat, dog, expec"):
            check_class_list(masks, names)
    # Of another tool, with other numbers.
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    check_class_list(masks, ["cat"])


# -- masks ----------------------------------------------------------------------------------------


def test_masks_of_colours_are_read_by_the_colours_that_the_list_tells(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "labelmap.txt").write_text(CVAT)
    masks = root / "SegmentationClass"
    paint(masks / "a.png", (0, 0, 0), (10, 20, 30), (224, 224, 192))
    paint(masks / "b.png", (128, 0, 0), (0, 0, 0))
    Image.open(masks / "b.png").quantize(4).save(masks / "b.png")
    dataset = VOC2012(root, "train")
    assert shown(dataset) == [["cat"], ["dog"]]
    first, second = dataset[0].target, dataset[1].target
    assert first is not None
    assert second is not None
    assert first.dtype == torch.int64
    assert first[0].tolist() == [0, 1, 255, 255, 255, 255]
    assert second[0].tolist() == [2, 0, 0, 0, 0, 0]


def test_background_may_come_last_where_colours_tell(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "labelmap.txt").write_text("cat:10,20,30::\ndog:128,0,0::\nbackground:9,9,9::\n")
    paint(root / "SegmentationClass" / "a.png", (9, 9, 9), (128, 0, 0))
    dataset = VOC2012(root, "train")
    target = dataset[0].target
    assert target is not None
    assert target[0].tolist() == [0, 2, 2, 2, 2, 2]
    with pytest.raises(
        DataError, match=r"b.png: expected a mask of colours, as .*labelmap.txt doe"
    ):
        dataset[1]


def test_colours_that_no_class_has_are_listed(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "labelmap.txt").write_text(CVAT)
    paint(root / "SegmentationClass" / "a.png", (0, 0, 0), (10, 20, 31), (7, 7, 7))
    message = r"a.png: expected a mask of class.*labelmap.txt lacks \(7, 7, 7\), \(10, 20, 31\)$"
    with pytest.raises(DataError, match=message):
        VOC2012(root, "train")[0]


@pytest.mark.parametrize("lists", ["", CVAT])
def test_a_mask_of_another_size_is_refused(tmp_path: Path, lists: str) -> None:
    root = make(tmp_path)
    if lists:
        (root / "labelmap.txt").write_text(lists)
    Image.new("L", (HEIGHT, WIDTH)).save(root / "SegmentationClass" / "a.png")
    with pytest.raises(DataError, match=r"a.png: expected the size of its image, 6 x 4 .* 4 x 6$"):
        VOC2012(root, "train")[0]


def test_a_mask_of_an_image_that_lies_on_its_side_is_told(tmp_path: Path) -> None:
    root = make(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / "a.jpg", exif=exif)
    Image.new("L", (HEIGHT, WIDTH)).save(root / "SegmentationClass" / "a.png")
    with pytest.raises(DataError, match=r"4 x 6; .*a.jpg was read as it is stored, .* --upright"):
        VOC2012(root, "train")[0]


def test_arrays_beside_the_masks_are_no_matter(tmp_path: Path) -> None:
    root = make(tmp_path, "SegmentationClassPNG")
    (root / "SegmentationClass").mkdir()
    (root / "SegmentationClass" / "a.npy").write_bytes(b"")
    assert shown(VOC2012(root, "train")) == [["aeroplane"], ["bicycle"]]


def test_without_labels_the_folder_is_shown(tmp_path: Path) -> None:
    root = make(tmp_path, "Masks")
    with pytest.raises(MissingDataError, match=r"a: no image-level labels; .* holds .*, Masks$"):
        VOC2012(root, "train").load_labels(0)


# -- lists ----------------------------------------------------------------------------------------


def test_names_with_spaces_are_read(tmp_path: Path) -> None:
    names = ("my photo", "sofa 1", "b", "a  c", "b 7")
    root = make(tmp_path, images=names)
    assert VOC2012(root, "train").names == names
    assert VOC2012(root, "train")[0].name == "my photo"
    listed(root, "/JPEGImages/my photo.jpg /SegmentationClass/my photo.png", "b 1", "a  c.jpg")
    assert VOC2012(root, "train").names == ("my photo", "b", "a  c")
    listed(root, "no such photo")
    assert VOC2012(root, "train").names == ("no such photo",)


def test_a_line_that_may_be_two_images_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, images=("b", "b 1"))
    with pytest.raises(
        DataError, match=r"train.txt: line 2: 'b 1' may be the image 'b 1', or 'b' "
    ):
        VOC2012(root, "train")


def test_paths_of_windows_are_read_unless_a_name_is_so(tmp_path: Path) -> None:
    root = make(tmp_path)
    listed(root, "JPEGImages\\a.jpg", "C:\\voc\\JPEGImages\\b.jpg")
    assert VOC2012(root, "train").names == ("a", "b")
    other = make(tmp_path / "other", images=("x\\y",))
    assert VOC2012(other, "train").names == ("x\\y",)


@pytest.mark.parametrize("ending", ["png", "jpeg", "JPG"])
def test_images_may_end_otherwise(tmp_path: Path, ending: str) -> None:
    root = make(tmp_path, images=("a",))
    image = root / "JPEGImages" / f"a.{ending}"
    (root / "JPEGImages" / "a.jpg").rename(image)
    listed(root, f"a.{ending}")
    dataset = VOC2012(root, "train")
    assert dataset.names == ("a",)
    assert dataset.image_path(0) == image
    assert dataset[0].image.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("a", "b\0"), r"train.txt: line 2: 'b\\x00' holds a zero byte, which no file name can"),
        (("a", "/"), r"train.txt: line 2: expected the name of an image, got '/'"),
        (("x/a", "y/a"), r"each image once, a is listed again \(as 'x/a' and 'y/a'\) and would co"),
    ],
)
def test_lines_that_name_no_image_are_told(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    listed(make(tmp_path), *lines)
    with pytest.raises(DataError, match=message):
        VOC2012(tmp_path, "train")


def test_a_zero_byte_in_the_name_of_a_list_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"\(available: train\), got 'train\\x00'"):
        VOC2012(make(tmp_path), "train\0")


# -- boxes ----------------------------------------------------------------------------------------


def test_boxes_that_name_another_image_are_warned_of_once(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "Annotations").mkdir()
    for name, said in (("a", "z.jpg"), ("b", "y.jpg")):
        text = f"<filename>{said}</filename><object><name>cat</name></object>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
    dataset = VOC2012(root, "train")
    with pytest.warns(UserWarning, match=r"a.xml: its <filename> names another image, 'z.jpg'; "):
        assert dataset[0].labels[VOC_CLASSES.index("cat")] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset[1].labels[VOC_CLASSES.index("cat")] == 1


def test_boxes_of_listed_classes_are_read_and_others_refused(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "classes.txt").write_text("background\ncat\nfox\n")
    (root / "Annotations").mkdir()
    for name in ("fox", "person"):
        text = f"<annotation><object><name>{name}</name></object></annotation>"
        (root / "Annotations" / f"{'a' if name == 'fox' else 'b'}.xml").write_text(text)
    dataset = VOC2012(root, "train")
    assert dataset.load_labels(0).tolist() == [0, 1]
    with pytest.raises(
        DataError, match=r"b.xml: .* got 'person'; .*classes.txt lists the classes$"
    ):
        dataset.load_labels(1)


def test_entities_in_boxes_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "Annotations").mkdir()
    laughs = "".join(
        f'<!ENTITY l{n + 1} "&l{n};&l{n};&l{n};&l{n};&l{n};&l{n};">' for n in range(20)
    )
    (root / "Annotations" / "a.xml").write_text(
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><annotation><object><name>&l20;</name></object>'
        "</annotation>"
    )
    with pytest.raises(DataError, match=r"a.xml: declares the entity 'l0', which VOC's XML has no"):
        VOC2012(root, "train").load_labels(0)


def test_no_list_is_no_list(tmp_path: Path) -> None:
    assert read_class_list(tmp_path) is None
