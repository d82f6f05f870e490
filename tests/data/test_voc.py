"""The VOC 2012 reader on files written in the official layout."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.utils.data import DataLoader

from fsr.data import VOC2012, Sample, read_image
from fsr.data._files import read_label_map
from fsr.data._voc_classes import VOC_CLASSES
from fsr.errors import DataError, MissingDataError

WIDTH, HEIGHT = 12, 8
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [224, 224, 192] * 252

XML = """<annotation>
  <filename>{name}.jpg</filename>
  <object><name>person</name><difficult>1</difficult>
    <part><name>head</name></part>
  </object>
  <object><name> dog </name><truncated>1</truncated></object>
  <object><name>person</name></object>
</annotation>
"""


def write_image(folder: Path, name: str, colour: tuple[int, int, int] = (200, 30, 60)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(folder / f"{name}.jpg", quality=95)


def write_mask(
    folder: Path, name: str, labels: tuple[int, ...] = (0, 15, 255), mode: str = "P"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row, label in enumerate(labels):
        values[row] = label
    mask = Image.fromarray(values)
    if mode == "P":
        mask.putpalette(PALETTE)
    assert mask.mode == mode
    mask.save(folder / f"{name}.png")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three images: a and b are train, c is val; b has no XML; a and c have palette masks."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    for name in "abc":
        write_image(root / "JPEGImages", name)
        write_mask(root / "SegmentationClass", name, labels=(0, 12, 15, 255))
    for name in "ac":
        write_text(root / "Annotations" / f"{name}.xml", XML.format(name=name))
    write_text(lists / "train.txt", "a\nb\n")
    write_text(lists / "val.txt", "c\n")
    return root


def present(labels: torch.Tensor) -> set[str]:
    return {VOC_CLASSES[int(c)] for c in labels.nonzero()}


def test_a_sample_holds_image_labels_target_and_name(voc: Path) -> None:
    sample = VOC2012(voc, "train")[0]
    assert isinstance(sample, Sample)
    assert sample.name == "a"
    assert sample.image.mode == "RGB"
    assert sample.image.size == (WIDTH, HEIGHT)
    assert np.abs(np.asarray(sample.image)[0, 0].astype(int) - (200, 30, 60)).max() < 6
    assert sample.labels.dtype == torch.float32
    assert sample.labels.shape == (20,)
    assert sample.target is not None
    assert sample.target.dtype == torch.int64
    assert sample.target.shape == (HEIGHT, WIDTH)
    assert sample.target[:4, 0].tolist() == [0, 12, 15, 255]


def test_class_names_are_the_twenty_in_official_order() -> None:
    assert VOC2012.class_names[0] == "aeroplane"
    assert VOC2012.class_names[14] == "person"
    assert VOC2012.class_names[19] == "tvmonitor"
    assert len(set(VOC2012.class_names)) == 20
    assert list(VOC2012.class_names) == sorted(VOC2012.class_names)


def test_the_root_may_be_any_of_three_folders(voc: Path) -> None:
    for root in (voc, voc.parent, voc.parent.parent, str(voc)):
        assert VOC2012(root, "train").root == voc


def test_labels_come_from_all_objects_of_the_xml_and_not_from_parts(voc: Path) -> None:
    write_mask(voc / "SegmentationClass", "a", labels=(0, 3))
    dataset = VOC2012(voc, "train")
    assert present(dataset[0].labels) == {"person", "dog"}
    assert sorted(set(dataset[0].labels.tolist())) == [0.0, 1.0]


def test_labels_come_from_the_mask_where_there_is_no_xml(voc: Path) -> None:
    dataset = VOC2012(voc, "train")
    assert present(dataset[1].labels) == {"dog", "person"}
    write_mask(voc / "SegmentationClass", "b", labels=(0, 1, 20, 255))
    assert present(dataset[1].labels) == {"aeroplane", "tvmonitor"}
    write_mask(voc / "SegmentationClass", "b", labels=(0,))
    assert present(dataset[1].labels) == set()


def test_an_xml_without_objects_gives_no_class(voc: Path) -> None:
    write_text(voc / "Annotations" / "a.xml", "<annotation></annotation>")
    assert VOC2012(voc, "train")[0].labels.sum() == 0


def test_labels_load_without_the_image(voc: Path) -> None:
    (voc / "JPEGImages" / "a.jpg").unlink()
    dataset = VOC2012(voc, "train")
    assert present(dataset.load_labels(0)) == {"person", "dog"}


def test_train_aug_prefers_the_augmented_masks_and_other_splits_the_official(voc: Path) -> None:
    for name in "abc":
        write_mask(voc / "SegmentationClassAug", name, labels=(7,), mode="L")
    write_text(voc / "ImageSets" / "Segmentation" / "train_aug.txt", "a\nb\n")
    for split, expected in (("train_aug", 7), ("train", 12), ("val", 12)):
        target = VOC2012(voc, split)[0].target
        assert target is not None
        assert expected in target


def test_train_aug_is_the_default_split(voc: Path) -> None:
    write_text(voc / "ImageSets" / "Segmentation" / "train_aug.txt", "b\n")
    assert VOC2012(voc).names == ("b",)


def test_the_other_mask_folder_serves_where_only_that_exists(voc: Path) -> None:
    (voc / "SegmentationClass").rename(voc / "SegmentationClassAug")
    target = VOC2012(voc, "val")[0].target
    assert target is not None
    assert 12 in target


def test_train_aug_reads_what_official_masks_there_are(voc: Path) -> None:
    write_text(voc / "ImageSets" / "Segmentation" / "train_aug.txt", "a\nc\n")
    (voc / "SegmentationClass" / "c.png").unlink()
    dataset = VOC2012(voc)
    assert dataset[0].target is not None
    assert dataset[1].target is None
    assert present(dataset[1].labels) == {"person", "dog"}


def test_without_a_mask_folder_targets_are_none(voc: Path) -> None:
    (voc / "SegmentationClass").rename(voc / "elsewhere")
    sample = VOC2012(voc, "val")[0]
    assert sample.target is None
    assert present(sample.labels) == {"person", "dog"}


def test_training_reads_no_mask_when_told_so(voc: Path) -> None:
    (voc / "SegmentationClass" / "a.png").write_bytes(b"not a mask")
    sample = VOC2012(voc, "train", masks=False)[0]
    assert sample.target is None
    assert present(sample.labels) == {"person", "dog"}


def test_test_images_have_no_target_and_unknown_labels(voc: Path) -> None:
    write_text(voc / "ImageSets" / "Segmentation" / "test.txt", "d\na\n")
    write_image(voc / "JPEGImages", "d")
    dataset = VOC2012(voc, "test")
    assert dataset[0].target is None
    assert bool(dataset[0].labels.isnan().all())
    assert dataset[1].target is None
    assert present(dataset[1].labels) == {"person", "dog"}


def test_lists_may_name_paths_and_hold_blank_lines(voc: Path) -> None:
    write_text(
        voc / "ImageSets" / "Segmentation" / "train_aug.txt",
        "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n\n  b  \n2007_000.032 1\n",
    )
    assert VOC2012(voc).names == ("a", "b", "2007_000.032")


def test_it_is_a_sequence_for_loops_and_loaders(voc: Path) -> None:
    dataset = VOC2012(voc, "train")
    assert len(dataset) == 2
    assert [sample.name for sample in dataset] == ["a", "b"]
    assert dataset[-1].name == "b"
    with pytest.raises(IndexError):
        dataset[2]
    assert len(pickle.loads(pickle.dumps(dataset))) == 2
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=2, collate_fn=list)
    assert [sample.name for batch in loader for sample in batch] == ["a", "b"]
    assert repr(dataset) == f"VOC2012({str(voc)!r}, split='train', 2 images)"


def test_greyscale_photographs_become_rgb(voc: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), 90).save(voc / "JPEGImages" / "a.jpg")
    assert VOC2012(voc, "train")[0].image.mode == "RGB"


def test_photographs_lie_as_they_are_stored_unless_asked_for(voc: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = voc / "JPEGImages" / "c.jpg"
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)
    assert VOC2012(voc, "val")[0].image.size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match=r"c\.jpg was turned upright, .*: --as-stored"):
        VOC2012(voc, "val", orient=True)[0]
    mask = voc / "SegmentationClass" / "c.png"
    Image.new("L", (HEIGHT, WIDTH), 12).save(mask)
    with pytest.raises(DataError, match=r"c\.jpg was read as it is stored, .* upright: --upright"):
        VOC2012(voc, "val")[0]
    upright = VOC2012(voc, "val", orient=True)
    assert upright[0].image.size == (HEIGHT, WIDTH)
    assert repr(upright).endswith("1 images, orient=True)")
    Image.new("L", (3, 3)).save(mask)
    with pytest.raises(DataError, match=r"expected the size of its image, .* got 3 x 3$"):
        VOC2012(voc, "val")[0]


def test_large_images_and_masks_are_read_when_that_is_asked_for(
    voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="--max-pixels 96"):
        VOC2012(voc, "val")[0]
    large = VOC2012(voc, "val", max_pixels=96)
    assert large[0].target is not None
    assert repr(large).endswith("1 images)")
    (voc / "Annotations" / "c.xml").unlink()
    assert present(large[0].labels) == {"dog", "person"}


def test_a_missing_root_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root: expected .* got .*nowhere, which is no fo"):
        VOC2012(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match=r"root: .* which holds nothing"):
        VOC2012(tmp_path, "train")
    (tmp_path / "photos").mkdir()
    with pytest.raises(MissingDataError, match=r"root: .* which holds photos"):
        VOC2012(tmp_path, "train")


def test_a_missing_list_names_the_available_ones_and_how_to_make_train_aug(voc: Path) -> None:
    with pytest.raises(MissingDataError, match=r"split: .* \(available: train, val\), got 'vall'"):
        VOC2012(voc, "vall")
    with pytest.raises(MissingDataError, match=r"10,582 names, .*ClassAug; fsr prepare voc makes"):
        VOC2012(voc)
    (voc / "ImageSets").rename(voc / "elsewhere")
    with pytest.raises(MissingDataError, match=r"available: none"):
        VOC2012(voc, "train")


def break_list(root: Path) -> None:
    write_text(root / "ImageSets" / "Segmentation" / "train.txt", "\n \n")


def repeat_name(root: Path) -> None:
    write_text(root / "ImageSets" / "Segmentation" / "train.txt", "a\nb\na\n")


def remove_image(root: Path) -> None:
    (root / "JPEGImages" / "a.jpg").unlink()


def truncate_image(root: Path) -> None:
    path = root / "JPEGImages" / "a.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:900])


def garble_image(root: Path) -> None:
    (root / "JPEGImages" / "a.jpg").write_bytes(b"<html>404</html>")


def remove_mask(root: Path) -> None:
    (root / "SegmentationClass" / "a.png").unlink()


def truncate_mask(root: Path) -> None:
    path = root / "SegmentationClass" / "a.png"
    path.write_bytes(path.read_bytes()[:-40])


def grow_mask(root: Path) -> None:
    Image.new("L", (HEIGHT, WIDTH)).save(root / "SegmentationClass" / "a.png")


def colour_mask(root: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), (128, 0, 0)).save(root / "SegmentationClass" / "a.png")


def four_channel_mask(root: Path) -> None:
    Image.new("RGBA", (WIDTH, HEIGHT)).save(root / "SegmentationClass" / "a.png")


def mislabel_mask(root: Path) -> None:
    write_mask(root / "SegmentationClass", "a", labels=(0, 20, 21, 254, 255))


def scatter_mask(root: Path) -> None:
    ramp = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    Image.fromarray(ramp).save(root / "SegmentationClass" / "a.png")


def misname_class(root: Path) -> None:
    write_text(
        root / "Annotations" / "a.xml",
        "<annotation><object><name>dogg</name></object></annotation>",
    )


def omit_class(root: Path) -> None:
    write_text(root / "Annotations" / "a.xml", "<annotation><object></object></annotation>")


def garble_xml(root: Path) -> None:
    write_text(root / "Annotations" / "a.xml", "<annotation><object>")


def remove_all_labels(root: Path) -> None:
    (root / "Annotations" / "a.xml").unlink()
    (root / "SegmentationClass").rename(root / "elsewhere")


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (break_list, DataError, r"train.txt: expected one image name a line, got an empty list"),
        (repeat_name, DataError, r"train.txt: expected each image once, a is listed again and"),
        (remove_image, MissingDataError, r"JPEGImages/a.jpg: no such file"),
        (truncate_image, DataError, r"a.jpg: the image is damaged \(.*truncated"),
        (garble_image, DataError, r"a.jpg: cannot be read as an image"),
        (remove_mask, MissingDataError, r"SegmentationClass/a.png: no such mask; .* masks=False"),
        (truncate_mask, DataError, r"a.png: the image is damaged"),
        (grow_mask, DataError, r"a.png: expected the size of its image, 12 x 8 pixels, got 8 x 12"),
        (
            colour_mask,
            DataError,
            r"a.png: expected a mask of class indices .* colours \(mode RGB\)",
        ),
        (four_channel_mask, DataError, r"a.png: expected a mask of .* colours \(mode RGBA\)"),
        (mislabel_mask, DataError, r"a.png: expected labels in 0..20 or 255, got 21, 254$"),
        (scatter_mask, DataError, r"got 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, \.\.\."),
        (
            misname_class,
            DataError,
            r"a.xml: object name: .* got 'dogg' \(did you mean 'dog'\?\); list other classes in "
            r".*VOC2012/classes.txt, background first$",
        ),
        (omit_class, DataError, r"a.xml: expected a name in every object, got none$"),
        (garble_xml, DataError, r"a.xml: cannot be read as XML \("),
        (
            remove_all_labels,
            MissingDataError,
            r"a: no image-level labels; expected .*a.xml, or a mask in .*SegmentationClass: unpack",
        ),
    ],
)
def test_harmed_files_are_named_with_the_way_out(
    voc: Path, harm: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    harm(voc)
    with pytest.raises(error, match=message):
        VOC2012(voc, "train")[0]


def test_damage_anywhere_in_a_file_raises_no_other_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = Image.effect_noise((64, 64), 80)
    noise.save(path)
    data = path.read_bytes()
    harmed = [data[:s] + b"\0" * 8 + data[s + 8 :] for s in (10, 20, 40, 60, 200, len(data) - 30)]
    # A head that says it is shorter than it must be.
    for content in (*harmed, data[:11] + b"\x05" + data[12:]):
        path.write_bytes(content)
        for read in (read_image, lambda p: read_label_map(p, 255)):
            with contextlib.suppress(DataError):
                read(path)


@pytest.mark.parametrize("error", [SyntaxError, ValueError, OSError])
def test_every_way_in_which_pillow_reports_damage_is_a_data_error(
    voc: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise error("broken chunk")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(DataError, match=r"a.jpg: the image is damaged \(broken chunk\)"):
        VOC2012(voc, "train")[0]


def test_a_label_map_may_be_read_without_a_size(tmp_path: Path) -> None:
    write_mask(tmp_path, "m", labels=(0, 2, 255))
    assert read_label_map(tmp_path / "m.png", num_classes=2).unique().tolist() == [0, 2, 255]
    with pytest.raises(MissingDataError, match=r"none.png: no such file"):
        read_label_map(tmp_path / "none.png", num_classes=2)


@pytest.mark.parametrize("file", ["a.JPG", "a.jpeg", "a.png", "A.jpg", "A.PNG"])
def test_an_image_in_another_case_or_format_is_found(voc: Path, file: str) -> None:
    image = voc / "JPEGImages" / "a.jpg"
    Image.open(image).save(voc / "JPEGImages" / file, format="PNG")
    image.unlink()
    dataset = VOC2012(voc, "train")
    assert dataset.image_path(0).name == file
    assert dataset[0].image.size == (WIDTH, HEIGHT)


def test_several_such_images_are_named(voc: Path) -> None:
    image = voc / "JPEGImages" / "a.jpg"
    for file in ("a.JPG", "a.png"):
        Image.open(image).save(voc / "JPEGImages" / file, format="PNG")
    assert VOC2012(voc, "train").image_path(0) == image
    image.unlink()
    with pytest.raises(DataError, match=r"a\.jpg: no such file, and several .*: a\.JPG, a\.png;"):
        VOC2012(voc, "train")[0]


def test_the_file_of_another_image_is_left_to_it(voc: Path) -> None:
    write_text(voc / "ImageSets" / "Segmentation" / "train.txt", "a\nA\n")
    with pytest.raises(MissingDataError, match=r"A\.jpg: no such file"):
        VOC2012(voc, "train")[1]


def test_boxes_and_masks_in_another_case_are_found(voc: Path) -> None:
    (voc / "Annotations" / "a.xml").rename(voc / "Annotations" / "A.XML")
    (voc / "SegmentationClass" / "a.png").rename(voc / "SegmentationClass" / "a.PNG")
    write_mask(voc / "SegmentationClass", "b", labels=(0, 3))
    sample = VOC2012(voc, "train")[0]
    assert sample.target is not None
    assert present(sample.labels) == {"person", "dog"}
