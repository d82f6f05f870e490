"""A folder of one's own images: any names and formats, and every fault of the table named."""

from __future__ import annotations

import os
import pickle
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fsr.data import FolderDataset, Sample, write_label_map
from fsr.errors import DataError, MissingDataError

WIDTH, HEIGHT = 12, 8
RED = (250, 10, 20)


def write_image(path: Path, colour: tuple[int, int, int] = RED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(path)


def write_mask(path: Path, *labels: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for row, label in enumerate(labels):
        mask[row] = label
    write_label_map(path, mask)


def write_table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, one of them in a folder, with masks beside."""
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.png", "zoo/c.webp"):
        write_image(folder / name)
    for name, label in (("a", 1), ("b", 2), ("zoo/c", 255)):
        write_mask(tmp_path / "masks" / f"{name}.png", label)
    write_table(tmp_path, "image,labels\na.jpg,cat;dog\nb,\nzoo/c.webp, dog \n")
    return tmp_path


def read(root: Path, **options: object) -> FolderDataset:
    return FolderDataset(root / "photos", root / "labels.csv", **options)  # type: ignore[arg-type]


# -- what it reads --------------------------------------------------------------------------------


def test_a_sample_holds_image_labels_and_name(photos: Path) -> None:
    dataset = read(photos)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("a", "b", "zoo/c")
    sample = dataset[2]
    assert isinstance(sample, Sample)
    assert (sample.name, sample.target) == ("zoo/c", None)
    assert (sample.image.mode, sample.image.size) == ("RGB", (WIDTH, HEIGHT))
    assert np.abs(np.asarray(sample.image)[0, 0].astype(int) - RED).max() < 8
    assert sample.labels.dtype == torch.float32
    assert [s.labels.tolist() for s in dataset] == [[1, 1], [0, 0], [0, 1]]
    assert dataset.image_path(1) == photos / "photos" / "b.png"


def test_masks_of_the_same_path_give_the_target(photos: Path) -> None:
    dataset = read(photos, masks=photos / "masks")
    values = [sample.target.unique().tolist() for sample in dataset if sample.target is not None]
    assert values == [[0, 1], [0, 2], [0, 255]]
    target = dataset[0].target
    assert target is not None
    assert (target.dtype, target.shape) == (torch.int64, (HEIGHT, WIDTH))


def test_greyscale_masks_do_as_well(photos: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), 2).save(photos / "masks" / "a.png")
    target = read(photos, masks=photos / "masks")[0].target
    assert target is not None
    assert target.unique().tolist() == [2]


def test_one_column_per_class_keeps_their_order(photos: Path) -> None:
    write_table(photos, "dog,image,cat\n1,a,0\n0,b.png,0\n")
    dataset = read(photos)
    assert dataset.class_names == ("dog", "cat")
    assert dataset.load_labels(0).tolist() == [1, 0]
    assert len(dataset) == 2
    assert dataset.unlisted == 1


@pytest.mark.parametrize("form", ["image,labels\na,dog\n", "image,dog\na,1\n"])
def test_given_names_decide_the_order_and_may_be_more(photos: Path, form: str) -> None:
    write_table(photos, form)
    dataset = read(photos, class_names=["owl", "dog", "cat"])
    assert dataset.class_names == ("owl", "dog", "cat")
    assert dataset.load_labels(0).tolist() == [0, 1, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(photos: Path, encoding: str) -> None:
    write_table(photos, "image,labels\r\na.jpg,käse\r\n\r\n", encoding)
    assert read(photos).class_names == ("käse",)


@pytest.mark.parametrize(
    "name",
    [
        "my photo.jpg",
        "a.b.c.JPG",
        "图像 ß.png",
        'it\'s; a, "quote".bmp',
        "2011_000.003.tif",
        "#1.gif",
    ],
)
@pytest.mark.parametrize("extension", [True, False])
def test_any_name_is_found_with_and_without_its_extension(
    tmp_path: Path, name: str, extension: bool
) -> None:
    write_image(tmp_path / "photos" / "deep er" / name)
    write_image(tmp_path / "photos" / name)
    stem = name.rpartition(".")[0]
    listed = name if extension else stem
    quoted = listed.replace('"', '""')
    write_table(tmp_path, f'image,labels\n"deep er/{quoted}",cat\n')
    dataset = read(tmp_path)
    assert dataset.names == (f"deep er/{stem}",)
    assert dataset[0].image.size == (WIDTH, HEIGHT)


def test_accents_are_found_however_they_are_stored(tmp_path: Path) -> None:
    stored, written = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))
    assert stored != written
    write_image(tmp_path / "photos" / f"{stored}.png")
    write_table(tmp_path, f"image,labels\n{written},cat\n")
    assert read(tmp_path)[0].image.size == (WIDTH, HEIGHT)
    write_image(tmp_path / "photos" / f"{written}.png")
    write_table(tmp_path, f"image,labels\n{written}.png,cat\n{stored}.png,\n")
    assert read(tmp_path).names == (written, stored)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_becomes_rgb(photos: Path, mode: str) -> None:
    name = "x.tif" if mode in ("CMYK", "I;16") else "x.png"
    grey = Image.fromarray(np.full((4, 6), 30_000, np.uint16))
    image = grey if mode == "I;16" else Image.new("RGB", (6, 4), RED).convert(mode)
    assert image.mode == mode
    image.save(photos / "photos" / name)
    write_table(photos, "image,labels\nx,cat\n")
    pixels = np.asarray(read(photos)[0].image)
    assert pixels.shape == (4, 6, 3)
    if mode == "I;16":
        assert pixels[0, 0].tolist() == [30_000 // 257] * 3


def test_photographs_are_turned_upright_and_their_masks_with_them(photos: Path) -> None:
    path = photos / "photos" / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.new("RGB", (WIDTH, HEIGHT))
    lying.paste(RED, (0, 0, WIDTH // 2, HEIGHT))
    lying.save(path, exif=exif, quality=95)
    upright = np.asarray(read(photos)[0].image)
    assert upright.shape == (WIDTH, HEIGHT, 3)
    assert upright[0, 0, 0] > 200 > 50 > upright[-1, 0, 0]
    assert read(photos, orient=False)[0].image.size == (WIDTH, HEIGHT)
    masks = photos / "masks"
    assert read(photos, masks=masks, orient=False)[0].target is not None
    text = r"expected the size .* 8 x 12 .* fits its pixels as they are stored: --as-stored \(data"
    with pytest.raises(DataError, match=text):
        read(photos, masks=masks)[0]
    Image.new("L", (HEIGHT, WIDTH)).save(masks / "a.png")
    target = read(photos, masks=masks)[0].target
    assert target is not None
    assert target.shape == (WIDTH, HEIGHT)


def test_options_of_reading_are_those_of_photographs(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGBA", (WIDTH, HEIGHT)).save(photos / "photos" / "cut.png")
    write_table(photos, "image,labels\ncut,cat\n")
    assert read(photos)[0].image.getpixel((0, 0)) == (255, 255, 255)
    black = read(photos, background="black", max_pixels=500)
    assert black[0].image.getpixel((0, 0)) == (0, 0, 0)
    assert repr(black).endswith(" classes, background='black')")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert black[0].image.size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match="--max-pixels 96"):
        read(photos)[0]


def test_images_that_are_not_listed_are_counted(photos: Path) -> None:
    write_image(photos / "photos" / "extra.bmp")
    write_image(photos / "photos" / ".hidden.png")
    (photos / "photos" / "notes.txt").write_text("no image")
    assert read(photos).unlisted == 1


def test_other_files_of_one_name_are_no_matter(photos: Path) -> None:
    for suffix in (".xml", ".txt", ".json"):
        (photos / "photos" / f"b{suffix}").write_text("")
    assert read(photos).image_path(1).name == "b.png"


def test_images_behind_links_may_be_named(photos: Path) -> None:
    outside = photos / "outside"
    write_image(outside / "d.png")
    (photos / "photos" / "link").symlink_to(outside)
    write_table(photos, "image,labels\nlink/d.png,cat\n")
    assert read(photos).names == ("link/d",)


def test_slashes_of_windows_are_turned_unless_a_file_has_them(photos: Path) -> None:
    write_table(photos, "image,labels\nzoo\\c.jpg,cat\nzoo\\d,dog\n")
    write_image(photos / "photos" / "zoo" / "c.jpg")
    write_image(photos / "photos" / "zoo" / "d.jpg")
    assert read(photos).names == ("zoo/c", "zoo/d")
    write_image(photos / "photos" / "zoo\\d.png")
    assert read(photos).names == ("zoo/c", "zoo\\d")


def test_slashes_of_windows_and_another_case_may_come_together(photos: Path) -> None:
    write_table(photos, "image,labels\nZoo\\C.WEBP,dog\n")
    assert read(photos, masks=photos / "masks").names == ("zoo/c",)


def test_a_name_that_no_file_can_have_is_told_with_its_line(photos: Path) -> None:
    write_table(photos, f"image,labels\n{'a' * 300}.jpg,dog\n")
    with pytest.raises(MissingDataError, match=r"line 2: no image 'aaa"):
        read(photos)


def test_masks_of_other_classes_are_refused_by_the_list_that_lies_with_them(photos: Path) -> None:
    (photos / "classes.txt").write_text("background\ncat\ndog\n")
    assert read(photos, masks=photos / "masks").class_names == ("cat", "dog")
    (photos / "classes.txt").write_text("background\ndog\ncat\n")
    with pytest.raises(
        DataError, match=r"classes.txt: the masks in .*masks are of dog, cat, expec"
    ):
        read(photos, masks=photos / "masks")
    assert read(photos).class_names == ("cat", "dog")


def test_it_is_a_sequence_for_loops_and_loaders(photos: Path) -> None:
    dataset = read(photos)
    assert len(dataset) == 3
    assert dataset[-1].name == "zoo/c"
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(IndexError):
        dataset.load_labels(3)
    loader = DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=3, collate_fn=list)
    assert [sample.name for batch in loader for sample in batch] == ["a", "b", "zoo/c"]
    images, table = str(photos / "photos"), str(photos / "labels.csv")
    assert repr(dataset) == f"FolderDataset({images!r}, {table!r}, 3 images, 2 classes)"


def test_labels_load_without_the_image(photos: Path) -> None:
    dataset = read(photos)
    shutil.rmtree(photos / "photos")
    assert dataset.load_labels(0).tolist() == [1, 1]


def test_another_case_is_found_where_one_file_can_be_meant(photos: Path) -> None:
    write_table(photos, "image,labels\nA.JPG,cat;dog\nB,\nZoo/C.WEBP,dog\n")
    (photos / "masks" / "b.png").rename(photos / "masks" / "B.PNG")
    dataset = read(photos, masks=photos / "masks")
    assert dataset.names == ("a", "b", "zoo/c")
    assert [sample.target is not None for sample in dataset] == [True] * 3
    assert dataset.mask_path(1) == photos / "masks" / "B.PNG"
    write_image(photos / "photos" / "a.JPG")
    with pytest.raises(DataError, match=r"line 2: 'A\.JPG' may be any of a\.JPG, a\.jpg in"):
        read(photos)
    write_table(photos, "image,labels\na.jpg,cat\nA.jpg,dog\n")
    (photos / "photos" / "a.JPG").unlink()
    with pytest.raises(DataError, match=r"lines 2 and 3 both list a\.jpg"):
        read(photos)


def test_a_mask_of_another_image_is_not_borrowed(photos: Path) -> None:
    write_image(photos / "photos" / "A.jpg")
    write_table(photos, "image,labels\na.jpg,cat\nA.jpg,dog\n")
    with pytest.raises(MissingDataError, match=r"A\.png: no such mask.*; 1 of 2 images have none"):
        read(photos, masks=photos / "masks")


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("a.tif", r"a\.png: no such mask, but 'a\.tif' is there: masks end in \.png; 1 of 3"),
        (
            "a_mask.png",
            r"no such mask, but 'a_mask\.png' is there: a mask has the path of its image",
        ),
        ("other/a.png", r"no such mask, but 'other/a\.png' is there: a mask has the path"),
    ],
)
def test_a_mask_with_another_ending_or_place_is_named(
    photos: Path, there: str, message: str
) -> None:
    (photos / "masks" / "other").mkdir()
    (photos / "masks" / "a.png").rename(photos / "masks" / there)
    with pytest.raises(MissingDataError, match=message):
        read(photos, masks=photos / "masks")


# -- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv: expected a table with columns 'image', 'labels'; it is empty"),
        ("image,labels\n", r"labels\.csv: expected one line per image, got none"),
        ("name,labels\na,cat\n", r"line 1: expected a column 'image' and .*got 'name', 'labels'"),
        ("image:labels\na:cat\n", r"line 1: .*separate columns by commas, semicolons or tabs"),
        ("image\na\n", r"line 1: expected a column 'image' and either a column 'labels' or one"),
        ("image,labels,cat\na,cat,1\n", r"line 1: .*either a column 'labels' or one .* per class"),
        ("image,image,labels\na,a,cat\n", r"line 1: expected one column 'image', got"),
        ("image,cat,cat\na,1,1\n", r"labels\.csv: expected each class once, got 'cat' twice"),
        ("image,cat,\na,1,x\n", r"labels\.csv: line 1: column 3 is an unnamed column"),
        ("image,cat;dog\na,1\n", r"'cat;dog' cannot name a class: .* without ';'"),
        ("image,Background,cat\na,0,1\n", r"'Background' is no class: .*leave it out"),
        ("image,labels\na,background;cat\n", r"'background' is no class"),
        ("image,labels\na,\nb,\n", r"expected 1 to 65534 classes, got none"),
        ("image,labels\na,cat\na,dog\n", r"line 3: 'a' is listed in line 2 already; put all its"),
        ("image,labels\na,cat\na.jpg,dog\n", r"lines 2 and 3 both list a\.jpg; put all its labels"),
        ("image,labels\na,cat\n./a.jpg,dog\n", r"lines 2 and 3 both list a\.jpg"),
        ("image,labels\na,cat,dog\n", r"line 2: expected 2 values, got 3; put a value that holds"),
        ("image,cat,dog\na,1\n", r"line 2: expected 3 values, got 2"),
        ("image,cat,dog\n\na,1,2\n", r"line 3: expected 0 or 1 in column 'dog', got '2'"),
        ("image,cat\na,yes\n", r"line 2: expected 0 or 1 in column 'cat', got 'yes'"),
        ("image,labels\n,cat\n", r"line 2: expected the path of an image, got nothing"),
        ('image,labels\n"a,cat\n', r"labels\.csv: cannot be read as CSV in UTF-8"),
        ("image,labels\n../a,cat\n", r"line 2: expected a path relative to .*, got '\.\./a'"),
        ("image,labels\n/etc/a.jpg,cat\n", r"line 2: expected a path relative to .* inside it"),
        ("image,labels\n..\\a.jpg,cat\n", r"line 2: expected a path relative to .* inside it"),
    ],
)
def test_faults_of_the_table_are_named_with_their_line(
    photos: Path, text: str, message: str
) -> None:
    write_table(photos, text)
    with pytest.raises(DataError, match=message) as caught:
        read(photos)
    assert str(caught.value).startswith(str(photos / "labels.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,labels\na.jpeg,cat\n", r"line 2: no image 'a\.jpeg' in .*; did you mean 'a\.jpg'"),
        ("image,labels\nzoo\\c.web,cat\n", r"no image .* did you mean 'zoo/c\.webp'\?"),
        (
            "image,labels\na,cat\nx1,\nx2,\n",
            r"line 3: no image 'x1' in .* \(2 such lines\); put it",
        ),
        ("image,labels\nzoo,cat\n", r"line 2: no image 'zoo'"),
        ("image,labels\na.tiff,cat\n", r"no image 'a\.tiff' .* did you mean 'a\.jpg'\?"),
        ("image,labels\nc.webp,cat\n", r"did you mean 'zoo/c\.webp'\?"),
        ("image,labels\nphotos/b.png,cat\n", r"did you mean 'b\.png'\?"),
    ],
)
def test_a_listed_image_that_is_not_there_is_named(photos: Path, text: str, message: str) -> None:
    write_table(photos, text)
    with pytest.raises(MissingDataError, match=message):
        read(photos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,labels\na,cta\n", r"line 2: unknown class 'cta'; did you mean 'cat'\?"),
        (
            "image,labels\na,cat\nb,mouse\n",
            r"line 3: unknown class 'mouse'; expected one of cat, d",
        ),
        ("image,cat,doog\na,0,0\n", r"line 1: unknown class 'doog'; did you mean 'dog'\?"),
    ],
)
def test_a_class_that_is_not_among_the_given_is_named_with_the_nearest(
    photos: Path, text: str, message: str
) -> None:
    write_table(photos, text)
    with pytest.raises(DataError, match=message):
        read(photos, class_names=("cat", "dog"))


def test_given_names_are_checked_themselves(photos: Path) -> None:
    with pytest.raises(DataError, match=r"^class_names: expected each class once, got 'cat' twice"):
        read(photos, class_names=("cat", "dog", "cat"))
    with pytest.raises(DataError, match=r"^class_names: expected 1 to 65534 classes, got 65535"):
        read(photos, class_names=[f"c{i}" for i in range(65_535)])


def test_an_ambiguous_name_lists_what_it_may_be(photos: Path) -> None:
    write_image(photos / "photos" / "a.png")
    write_table(photos, "image,labels\na,cat\n")
    with pytest.raises(DataError, match=r"line 2: 'a' may be any of a\.jpg, a\.png .*extension"):
        read(photos)
    write_table(photos, "image,labels\na.png,cat\n")
    assert read(photos).image_path(0).name == "a.png"
    write_table(photos, "image,labels\na.png,cat\na.jpg,dog\n")
    with pytest.raises(DataError, match=r"lines 2 and 3: a\.png and a\.jpg differ in .*: rename"):
        read(photos)


def test_missing_and_empty_folders_are_named(photos: Path) -> None:
    table = photos / "labels.csv"
    with pytest.raises(MissingDataError, match=r"images: expected a folder, got .*no, .*no such"):
        FolderDataset(photos / "no", table)
    with pytest.raises(MissingDataError, match=r"images: expected a folder, got .*, which is a fi"):
        FolderDataset(table, table)
    (photos / "empty").mkdir()
    with pytest.raises(MissingDataError, match=r"images: .* got .*empty: it is empty"):
        FolderDataset(photos / "empty", table)
    with pytest.raises(MissingDataError, match=r"masks: expected a folder, got .*no"):
        read(photos, masks=photos / "no")
    with pytest.raises(MissingDataError, match=r"no\.csv: no such table .*fsr prepare folder make"):
        FolderDataset(photos / "photos", photos / "no.csv")
    with pytest.raises(DataError, match=r"photos: cannot be read as CSV"):
        FolderDataset(photos / "photos", photos / "photos")


def test_a_table_that_is_no_text_is_named(photos: Path) -> None:
    (photos / "labels.csv").write_bytes(b"PK\x03\x04\xff\xfe an .xlsx file")
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read as CSV in UTF-8"):
        read(photos)


def test_missing_masks_are_counted_before_anything_is_scored(photos: Path) -> None:
    (photos / "masks" / "zoo" / "c.png").unlink()
    with pytest.raises(MissingDataError, match=r"c\.png: no such mask; 1 of 3 images have none"):
        read(photos, masks=photos / "masks")


def truncate(root: Path) -> None:
    path = root / "photos" / "a.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:900])


def garble(root: Path) -> None:
    (root / "photos" / "a.jpg").write_bytes(b"<html>404</html>")


def remove(root: Path) -> None:
    (root / "photos" / "a.jpg").unlink()


def remove_mask(root: Path) -> None:
    (root / "masks" / "a.png").unlink()


def grow_mask(root: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT + 1)).save(root / "masks" / "a.png")


def colour_mask(root: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "masks" / "a.png")


def mislabel_mask(root: Path) -> None:
    write_mask(root / "masks" / "a.png", 1, 3, 255)


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (truncate, DataError, r"photos/a\.jpg: the image is damaged \(.*truncated"),
        (garble, DataError, r"photos/a\.jpg: cannot be read as an image"),
        (remove, MissingDataError, r"photos/a\.jpg: no such file"),
        (remove_mask, MissingDataError, r"masks/a\.png: no such file"),
        (grow_mask, DataError, r"masks/a\.png: expected the size of its image, 12 x 8.*12 x 9$"),
        (colour_mask, DataError, r"masks/a\.png: expected a mask of class indices .*mode RGB"),
        (mislabel_mask, DataError, r"masks/a\.png: expected labels in 0\.\.2 or 255, got 3"),
    ],
)
def test_files_that_are_harmed_later_are_named_when_read(
    photos: Path, harm: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    dataset = read(photos, masks=photos / "masks")
    harm(photos)
    with pytest.raises(error, match=message):
        dataset[0]
    assert dataset[1].name == "b"


# -- the shipped options --------------------------------------------------------------------------


def test_the_trainer_runs_on_a_folder_with_the_shipped_options(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("omegaconf")
    from fsr.cli._train import main

    for number in range(4):
        write_image(tmp_path / "photos" / f"photo {number}.jpg", (60 * number, 90, 10))
    write_table(tmp_path, "image,labels\nphoto 0,cat\nphoto 1,dog\nphoto 2,cat;dog\nphoto 3.jpg,\n")
    arguments = [
        *("--config", "folder", "--config", "folder_cpu"),
        *(f"data.root={tmp_path / 'photos'}", f"data.labels={tmp_path / 'labels.csv'}"),
        *("model.backbone=fsr_scenes_tiny", "data.image_size=32", "eval.image_size=32"),
        *("data.batch_size=2", "steps=2", "eval.at_start=false", "run.sheet_images=0"),
        *("run.tensorboard=false", f"run.output={tmp_path / 'run'}"),
    ]
    assert main(arguments, "fsr train") == 0
    from fsr import SingleStageSegmenter

    model = SingleStageSegmenter.load(tmp_path / "run" / "teacher.safetensors")
    assert model.class_names == ("cat", "dog")


# -- many images ----------------------------------------------------------------------------------


def many(root: Path, count: int) -> FolderDataset:
    """A table of images that are empty files, with every second label a set of three."""
    (root / "photos" / "in").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (root / "photos" / "in" / f"photograph-{number:06}.jpg").touch()
    lines = (f"in/photograph-{n:06}.jpg,{'cat' if n % 2 else 'cat;dog;owl'}" for n in range(count))
    write_table(root, "\n".join(["image,labels", *lines]))
    return read(root)


def test_an_image_costs_a_worker_bytes_and_no_objects(tmp_path: Path) -> None:
    few, more = (len(pickle.dumps(many(tmp_path, count))) for count in (100, 1100))
    # Its name, where that ends, the numbers of its ending and of its labels.
    assert (more - few) / 1000 < len("in/photograph-000000") + 8 + 4 + 4 + 1
    assert not any(
        isinstance(value, list | tuple | dict) and len(value) > 3
        for value in vars(many(tmp_path, 100)).values()
    )


def test_classes_are_counted(tmp_path: Path) -> None:
    dataset = many(tmp_path, 11)
    assert dataset.class_counts() == [11, 6, 6]
    assert dataset.class_counts(2) == [2, 1, 1]


def test_names_are_those_of_a_tuple(photos: Path) -> None:
    dataset = read(photos)
    assert dataset.names[-1] == "zoo/c"
    assert dataset.names[:2] == ("a", "b")
    assert list(dataset.names) == ["a", "b", "zoo/c"]
    assert "zoo/c" in dataset.names


def test_masks_behind_links_are_taken_and_what_is_no_file_is_not(photos: Path) -> None:
    masks = photos / "masks"
    (masks / "b.png").rename(photos / "elsewhere.png")
    (masks / "b.png").symlink_to(photos / "elsewhere.png")
    (masks / "zoo").rename(photos / "zoo")
    (masks / "zoo").symlink_to(photos / "zoo")
    dataset = read(photos, masks=masks)
    assert [dataset.mask_path(n) for n in (0, 1, 2)] == [
        masks / f"{name}.png" for name in ("a", "b", "zoo/c")
    ]
    (photos / "elsewhere.png").unlink()
    with pytest.raises(MissingDataError, match=r"b\.png: no such mask.*; 1 of 3 images have none"):
        read(photos, masks=masks)
    (masks / "b.png").unlink()
    os.mkfifo(masks / "b.png")
    with pytest.raises(MissingDataError, match=r"b\.png: no such mask.*; 1 of 3 images have none"):
        read(photos, masks=masks)
