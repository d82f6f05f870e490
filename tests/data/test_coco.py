"""The COCO 2014 reader on files written in the official layout."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from fsr.data import (
    COCO2014,
    FolderDataset,
    Sample,
    download_coco,
    label_table,
    missing_images,
    write_labels,
    write_masks,
)
from fsr.data import _coco_prepare as coco_prepare
from fsr.data._coco_cache import STAMP, MaskCache
from fsr.data._coco_shapes import collect_shapes
from fsr.data._files import read_label_map
from fsr.errors import DataError, MissingDataError
from tests.helpers import code_that_hides
from tests.processes import run_code

codec = pytest.importorskip("pycocotools.mask")

WIDTH, HEIGHT = 16, 12
Json = dict[str, Any]


def rectangle(x0: int, y0: int, x1: int, y1: int) -> list[float]:
    """Corners of a box of pixels x0..x1-1, y0..y1-1; pixels have their corners at integers."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """The same box as pixels, by hand."""
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 1
    return pixels


def run_lengths(pixels: np.ndarray) -> Json:
    """Uncompressed run lengths, counted down the columns one pixel at a time."""
    counts, last = [0], 0
    for value in pixels.T.ravel().tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(pixels.shape), "counts": counts}


def compressed(pixels: np.ndarray) -> Json:
    """Run lengths as the official files have them after pycocotools wrote them."""
    runs = codec.encode(np.asfortranarray(pixels))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def annotation(
    number: int, image: int, category: int, segmentation: Any, area: float = 10.0, crowd: int = 0
) -> Json:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
        "iscrowd": crowd,
        "bbox": [0, 0, 1, 1],
    }


def content() -> Json:
    """Three classes with gaps in their ids; images 4, 7, 9 and 30, of which 9 has nothing."""
    return {
        "info": {"year": 2014},
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012}.jpg", "width": WIDTH, "height": HEIGHT}
            for i in (30, 4, 9, 7)
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 1, "name": "person"},
            {"id": 18, "name": "dog"},
        ],
        "annotations": [
            annotation(11, 4, 18, [rectangle(4, 4, 7, 6)], area=6),
            annotation(10, 4, 1, [rectangle(2, 2, 10, 9), rectangle(13, 0, 16, 2)], area=62),
            annotation(12, 4, 1, run_lengths(box(0, 6, 12, 12)), area=72, crowd=1),
            annotation(13, 7, 90, compressed(box(1, 1, 15, 3)), area=28),
            annotation(14, 30, 18, run_lengths(box(0, 0, 16, 6)), area=96, crowd=1),
        ],
    }


def write_json(root: Path, data: Any, split: str = "train") -> Path:
    path = root / "annotations" / f"instances_{split}2014.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def write_coco(root: Path) -> Path:
    """Write the annotations and the four photographs."""
    write_json(root, content())
    (root / "train2014").mkdir()
    for number in (4, 7, 9, 30):
        # COCO has a few hundred greyscale photographs; 7 is one.
        mode, colour = ("L", 90) if number == 7 else ("RGB", (200, 30, 60))
        path = root / "train2014" / f"COCO_train2014_{number:012}.jpg"
        Image.new(mode, (WIDTH, HEIGHT), colour).save(path, quality=95)
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def change(root: Path, edit: Callable[[Json], object]) -> None:
    """Write the annotations anew with something changed."""
    data = content()
    edit(data)
    write_json(root, data)


# -- samples --------------------------------------------------------------------------------------


def test_a_sample_holds_image_labels_target_and_name(coco: Path) -> None:
    sample = COCO2014(coco)[0]
    assert isinstance(sample, Sample)
    assert sample.name == "COCO_train2014_000000000004"
    assert (sample.image.mode, sample.image.size) == ("RGB", (WIDTH, HEIGHT))
    assert sample.labels.dtype == torch.float32
    assert sample.labels.tolist() == [1.0, 1.0, 0.0]
    assert sample.target is not None
    assert (sample.target.dtype, tuple(sample.target.shape)) == (torch.int64, (HEIGHT, WIDTH))


def test_ids_close_their_gaps_in_order(coco: Path) -> None:
    dataset = COCO2014(coco)
    assert dataset.class_names == ("person", "dog", "toothbrush")
    assert dataset.load_labels(1).tolist() == [0.0, 0.0, 1.0]
    target = dataset.load_target(1)
    assert target is not None
    assert target.unique().tolist() == [0, 3]


def test_small_objects_lie_on_large_ones_and_crowds_below_all(coco: Path) -> None:
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    expected[6:12, 0:12] = 255
    expected[2:9, 2:10] = 1
    expected[0:2, 13:16] = 1
    expected[4:6, 4:7] = 2
    target = COCO2014(coco).load_target(0)
    assert target is not None
    assert target.tolist() == expected.tolist()


def test_every_way_to_write_a_segmentation_gives_the_same_mask(coco: Path) -> None:
    maps = []
    pixels = box(3, 2, 9, 11)
    for segmentation in ([rectangle(3, 2, 9, 11)], run_lengths(pixels), compressed(pixels)):
        change(coco, lambda data, s=segmentation: data["annotations"][3].update(segmentation=s))  # type: ignore[misc]
        maps.append(COCO2014(coco).load_target(1))
    for target in maps:
        assert target is not None
        assert target.tolist() == (3 * pixels.astype(np.int64)).tolist()


boxes = st.tuples(
    st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, 9), st.integers(1, 9)
).map(lambda b: (b[0], b[1], min(b[0] + b[2], WIDTH), min(b[1] + b[3], HEIGHT)))
writers: list[Callable[[tuple[int, int, int, int]], Any]] = [
    lambda b: [rectangle(*b)],
    lambda b: run_lengths(box(*b)),
    lambda b: compressed(box(*b)),
]


@given(
    st.lists(
        st.tuples(boxes, st.sampled_from(writers), st.integers(1, 3), st.booleans()), max_size=7
    )
)
def test_a_pixel_shows_the_smallest_object_that_covers_it(found: list[Any]) -> None:
    items = []
    for number, (corners, write, category, crowd) in enumerate(found):
        area = (corners[2] - corners[0]) * (corners[3] - corners[1]) + number / 100
        items.append(annotation(number, 1, category, write(corners), area, int(crowd)))
    shapes = collect_shapes([((WIDTH, HEIGHT), items)], {1: 0, 2: 1, 3: 2})
    drawn = shapes.draw(0)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            best, expected = float("inf"), 0
            for item, (corners, _, category, crowd) in zip(items, found, strict=True):
                if corners[0] <= x < corners[2] and corners[1] <= y < corners[3]:
                    if crowd and best == float("inf"):
                        expected = 255
                    elif not crowd and item["area"] < best:
                        best, expected = item["area"], category
            assert drawn[y, x] == expected


def test_random_regions_come_back_from_compressed_run_lengths() -> None:
    random = np.random.default_rng(0)
    for share in (0.0, 0.03, 0.5, 0.97, 1.0):
        pixels = (random.random((40, 300)) < share).astype(np.uint8)
        item = annotation(1, 1, 1, compressed(pixels))
        drawn = collect_shapes([((300, 40), [item])], {1: 253}).draw(0)
        assert drawn.tolist() == (254 * pixels.astype(np.int64)).tolist()


def test_of_equal_areas_the_later_id_lies_on_top(coco: Path) -> None:
    def same_area(data: Json) -> None:
        data["annotations"][:3] = [
            annotation(22, 4, 18, [rectangle(0, 0, 8, 8)], area=64),
            annotation(21, 4, 1, [rectangle(4, 4, 12, 12)], area=64),
        ]

    change(coco, same_area)
    target = COCO2014(coco).load_target(0)
    assert target is not None
    assert (int(target[6, 6]), int(target[9, 9])) == (2, 1)


def test_images_without_annotations_are_left_out_and_counted_in_order_of_id(coco: Path) -> None:
    dataset = COCO2014(coco)
    assert [int(name[-3:]) for name in dataset.names] == [4, 7, 30]
    assert dataset.without_annotations == 1
    assert len(dataset) == 3


def test_crowds_count_as_labels_even_alone(coco: Path) -> None:
    dataset = COCO2014(coco)
    assert dataset.load_labels(2).tolist() == [0.0, 1.0, 0.0]
    target = dataset.load_target(2)
    assert target is not None
    assert target.unique().tolist() == [0, 255]


def test_greyscale_photographs_become_rgb(coco: Path) -> None:
    assert COCO2014(coco)[1].image.mode == "RGB"


def test_training_reads_no_segmentation_when_told_so(coco: Path) -> None:
    change(coco, lambda data: [a.pop("segmentation") for a in data["annotations"]])
    dataset = COCO2014(coco, masks=False, cache=coco / "cache")
    assert dataset[0].target is None
    assert dataset[0].labels.tolist() == [1.0, 1.0, 0.0]
    assert not (coco / "cache").exists()


def test_labels_and_masks_load_without_the_image(coco: Path) -> None:
    for path in (coco / "train2014").iterdir():
        path.unlink()
    dataset = COCO2014(coco)
    assert dataset.load_labels(-1).tolist() == [0.0, 1.0, 0.0]
    last, same = dataset.load_target(-1), dataset.load_target(2)
    assert last is not None
    assert same is not None
    assert torch.equal(last, same)


def test_the_root_may_be_the_folder_above_and_images_lie_in_images(coco: Path) -> None:
    assert COCO2014(coco.parent).root == coco
    assert COCO2014(str(coco)).root == coco
    (coco / "images").mkdir()
    (coco / "train2014").rename(coco / "images" / "train2014")
    dataset = COCO2014(coco)
    assert dataset.image_path(0).parent == coco / "images" / "train2014"
    assert dataset[0].image.size == (WIDTH, HEIGHT)


def test_it_is_a_sequence_for_loops_and_loaders(coco: Path) -> None:
    dataset = COCO2014(coco)
    assert [sample.name for sample in dataset] == list(dataset.names)
    assert dataset[-1].name == dataset.names[2]
    for load in (dataset.__getitem__, dataset.load_labels, dataset.load_target):
        with pytest.raises(IndexError):
            load(3)
    copy = pickle.loads(pickle.dumps(dataset))
    assert [torch.equal(a.target, b.target) for a, b in zip(dataset, copy, strict=True)] == [
        True
    ] * 3
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=2, collate_fn=list, num_workers=1)
    assert [sample.name for batch in loader for sample in batch] == list(dataset.names)
    assert repr(dataset) == f"COCO2014({str(coco)!r}, split='train', 3 images)"


def test_reading_prints_nothing(coco: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _ = COCO2014(coco)[0]
    assert capfd.readouterr() == ("", "")


# -- bad input ------------------------------------------------------------------------------------


def test_a_missing_root_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root: expected .* got .*nowhere, which is no fo"):
        COCO2014(tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(MissingDataError, match=r"annotations_trainval2014.zip.*which holds photos"):
        COCO2014(tmp_path)


def test_a_wrong_split_lists_those_that_are_there(coco: Path) -> None:
    write_json(coco, content(), "val")
    with pytest.raises(MissingDataError, match=r"split: .* \(available: train, val\), got 'tra'"):
        COCO2014(coco, "tra")
    with pytest.raises(MissingDataError, match=r"val2014: no such folder, .* unpack val2014.zip"):
        COCO2014(coco, "val")
    for path in (coco / "annotations").iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match=r"\(available: none\)"):
        COCO2014(coco)


NO_IMAGES = '{"annotations": [], "categories": [{"id": 1, "name": "person"}]}'


def test_a_file_that_is_no_annotation_file_is_named(coco: Path) -> None:
    path = coco / "annotations" / "instances_train2014.json"
    whole = path.read_text()
    for text in (whole[:200], "", "\x00\x01"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"instances_train2014.json: cannot be read as JSON"):
            COCO2014(coco)
    for text in ("[]", "{}", '{"images": [], "annotations": []}', NO_IMAGES):
        path.write_text(text)
        with pytest.raises(DataError, match=r"4.json: expected COCO's annotations of instances, "):
            COCO2014(coco)


def _first(**fields: Any) -> Callable[[Json], object]:
    return lambda data: data["annotations"][0].update(fields)


def _image(**fields: Any) -> Callable[[Json], object]:
    return lambda data: data["images"][1].update(fields)


TOO_SHORT = {"size": [HEIGHT, WIDTH], "counts": [3, 4]}
RUNS = r"annotation 11: expected run lengths"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_first(category_id=2), r"annotation 11: unknown category 2; the file has 1, 18, 90$"),
        (_first(image_id=5), r"annotation 11: unknown image 5$"),
        (_first(segmentation=[[1, 2, 3, 4]]), r"annotation 11: .* 3 points .* got one of 4 numbe"),
        (_first(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), r"got one of 7 numbers; take it out$"),
        (_first(segmentation=rectangle(0, 0, 2, 2)), r"annotation 11: .* got one of 0; take it"),
        (_first(segmentation=[rectangle(0, 0, 2, 2), []]), r"got one of 0 numbers"),
        (_first(segmentation=[]), r"annotation 11: expected a segmentation .* masks=False"),
        (_first(segmentation=None), r"annotation 11: expected a segmentation"),
        (lambda data: data["annotations"][0].pop("segmentation"), r"11: expected a segmentation"),
        (_first(segmentation={"size": [HEIGHT, WIDTH]}), r"annotation 11: expected a segmentation"),
        (
            _first(segmentation=[rectangle(0, 0, 640, 480)]),
            r"annotation 11: .* inside its image of 16 x 12 pixels, got coordinates from 0 to 640",
        ),
        (_first(segmentation=[[0, 0, 1, 1, float("nan"), 2]]), r"annotation 11: .* finite numbers"),
        (_first(segmentation=[[0, 0, 1, 1, 10**400, 2]]), r"annotation 11: .* of finite numbers"),
        (_first(segmentation=[[0, 0, 1, "1", 2, 2]]), r"annotation 11: .* of finite numbers"),
        (_first(area=float("nan")), r"annotation 11: expected a finite number in 'area', got nan"),
        (_first(area="6"), r"annotation 11: expected a finite number in 'area', got '6'"),
        (_first(iscrowd="0"), r"annotation 11: expected 0 or 1 in 'iscrowd', got '0'"),
        (_first(id=None), r"annotations\[0\]: expected an integer in 'id', got None"),
        (_first(category_id=[18]), r"annotation 11: expected an integer in 'category_id', got a l"),
        (_first(image_id=4.5), r"annotation 11: expected an integer in 'image_id', got 4.5"),
        (_image(width=10**6, height=10**6), r"image 4: expected at most 1073741824 pixels, got"),
        (_image(file_name=7), r"image 4: expected text in 'file_name', got 7"),
        (_image(file_name="a\0.jpg"), r"image 4: 'file_name': 'a\\x00.jpg' holds a zero byte"),
        (_image(file_name="\ud800.jpg"), r"image 4: 'file_name': .* is no text"),
        (_image(file_name=" "), r"image 4: 'file_name': expected the name of an image, got ' '"),
        (_image(file_name="../a.jpg"), r"image 4: 'file_name': expected a path inside .* leaves"),
        (_image(file_name="in/../../a.jpg"), r"image 4: .* got 'in/../../a.jpg', which leaves it"),
        (_image(file_name="/tmp/a.jpg"), r"image 4: 'file_name': expected a path inside"),
        (_image(file_name="..\\a.jpg"), r"image 4: 'file_name': expected a path inside"),
        (_image(file_name="C:\\photos\\a.jpg"), r"image 4: 'file_name': expected a path inside"),
        (_image(file_name="c:/photos/a.jpg"), r"image 4: 'file_name': expected a path inside"),
        (_image(file_name="\\\\server\\a.jpg"), r"image 4: 'file_name': expected a path inside"),
        (lambda data: data["images"].append(None), r"images\[4\]: expected an object, got nothing"),
        (lambda data: data["categories"][0].update(name=None), r"category 90: expected text in 'n"),
        (lambda data: data.update(annotations={}), r"with a list 'annotations', got an object"),
        (_first(segmentation=TOO_SHORT), RUNS + r" that add up to 16 x 12 = 192 pixels"),
        (_first(segmentation={**TOO_SHORT, "counts": [193, -1]}), RUNS + " that add up"),
        (_first(segmentation={**TOO_SHORT, "size": [16, 12]}), RUNS + r" of its image's size \[12"),
        (_first(segmentation={**TOO_SHORT, "counts": "00"}), RUNS + " that add up"),
        (_first(segmentation={**TOO_SHORT, "counts": "a b"}), RUNS + r" as .* got ' '"),
        (_first(segmentation={**TOO_SHORT, "counts": "0P"}), RUNS + r" as .* half a number"),
        (_image(width=0), r"image 4: expected a size, got 0 x 12"),
        (_image(height="12"), r"image 4: expected a size, got 16 x '12'"),
        (_image(id=7), r"images\[1\] and images\[3\] both have the id 7; exp"),
        (_image(id="seven"), r"images\[1\]: expected an integer in 'id', got 'seven'"),
        (_image(id=True), r"images\[1\]: expected an integer in 'id', got True"),
        (
            _image(file_name="other/COCO_train2014_000000000007.png"),
            r"images 4 and 7 are both named 'COCO_train2014_000000000007'",
        ),
        (lambda data: data["images"][1].pop("width"), r"image 4: expected a size, got None x 12"),
        (lambda data: data["annotations"][0].pop("area"), r"11: .* number in 'area', got None"),
        (
            lambda data: data["categories"][0].update(id=1),
            r"categories\[0\] and .* both have the id 1",
        ),
        (
            lambda data: data["categories"][0].update(name="dog"),
            r"categories 18 and 90 are both named 'dog'; rename one, or give the annotations of bo",
        ),
        (
            lambda data: data["categories"][0].update(name="Background"),
            r"'Background' is no class: it is what no class covers",
        ),
        (
            lambda data: data["categories"].extend(
                {"id": 100 + i, "name": f"c{i}"} for i in range(65_532)
            ),
            r"expected 1 to 65534 classes, got 65535",
        ),
        (
            lambda data: data.update(annotations=[]),
            r"expected annotations, none of its 4 images has one",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_the_file(
    coco: Path, edit: Callable[[Json], object], message: str
) -> None:
    change(coco, edit)
    with pytest.raises(DataError, match=message) as caught:
        COCO2014(coco)
    assert str(caught.value).startswith(str(coco / "annotations" / "instances_train2014.json"))
    assert "\n" not in str(caught.value)


def test_photographs_lie_as_they_are_stored_unless_asked_for(coco: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = COCO2014(coco).image_path(0)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)
    assert COCO2014(coco)[0].image.size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match="fits its pixels as they are stored: --as-stored"):
        COCO2014(coco, orient=True)[0]
    Image.new("RGB", (HEIGHT, WIDTH)).save(path, exif=exif)
    with pytest.raises(DataError, match=r"but this fits it upright: --upright \(data\.orient=true"):
        COCO2014(coco)[0]
    assert COCO2014(coco, orient=True)[0].image.size == (WIDTH, HEIGHT)


def test_nesting_without_end_is_told(coco: Path) -> None:
    path = coco / "annotations" / "instances_train2014.json"
    path.write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(
        DataError, match=r"2014.json: cannot be read as JSON \(it is nested too dee"
    ):
        COCO2014(coco)


def test_run_lengths_of_endless_digits_are_refused_at_once(coco: Path) -> None:
    endless = {"size": [HEIGHT, WIDTH], "counts": "o" * 100_000}
    change(coco, lambda data: data["annotations"][0].update(segmentation=endless))
    with pytest.raises(DataError, match=r"annotation 11: expected run lengths as pycocotools"):
        COCO2014(coco)


def test_a_byte_order_mark_is_read_over(coco: Path) -> None:
    path = coco / "annotations" / "instances_train2014.json"
    text = path.read_text()
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text(text, encoding=encoding)
        assert COCO2014(coco).names == tuple(f"COCO_train2014_{i:012}" for i in (4, 7, 30))


def test_ids_may_be_integers_spelled_otherwise(coco: Path) -> None:
    plain = COCO2014(coco)

    def respell(data: Json) -> None:
        data["images"][1]["id"] = "4"
        data["annotations"][0].update(image_id=4.0, category_id="18")

    change(coco, respell)
    assert COCO2014(coco).names == plain.names
    for one, other in zip(COCO2014(coco), plain, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.target, other.target)


def test_slashes_of_windows_are_turned_unless_a_file_has_them(coco: Path) -> None:
    name = "COCO_train2014_000000000004.jpg"
    (coco / "train2014" / "in").mkdir()
    (coco / "train2014" / name).rename(coco / "train2014" / "in" / name)
    change(coco, lambda data: data["images"][1].update(file_name=f"in\\{name}"))
    dataset = COCO2014(coco)
    assert dataset.image_path(0) == coco / "train2014" / "in" / name
    assert dataset[0].name == "COCO_train2014_000000000004"
    assert label_table(dataset).rows[0].image == f"in/{name}"
    (coco / "train2014" / "in" / name).rename(coco / "train2014" / f"in\\{name}")
    assert COCO2014(coco)[0].image.size == (WIDTH, HEIGHT)


def test_categories_that_stand_for_no_class_are_left_out(coco: Path) -> None:
    plain = COCO2014(coco)

    def add(data: Json) -> None:
        data["categories"].insert(0, {"id": 0, "name": "Background", "supercategory": "none"})

    change(coco, add)
    dataset = COCO2014(coco)
    assert (dataset.class_names, dataset.unused_categories) == (plain.class_names, ("Background",))
    assert dataset.load_labels(0).tolist() == [1.0, 1.0, 0.0]
    assert torch.equal(dataset[0].target, plain[0].target)


def test_a_false_size_is_told_before_a_mask_of_it_is_drawn(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = [a for a in content()["annotations"] if a["image_id"] != 4 or not a["iscrowd"]]
    change(
        coco,
        lambda data: (
            data["images"][1].update(width=30_000, height=30_000),
            data.update(annotations=crowd),
        ),
    )
    monkeypatch.setattr("fsr.data._coco_shapes.Shapes.draw", lambda *_: pytest.fail("drawn"))
    with pytest.raises(DataError, match=r"0004.jpg: expected 30000 x 30000 pixels as in .* 16 x"):
        COCO2014(coco)[0]


def test_harmed_images_are_named_with_the_way_out(coco: Path) -> None:
    dataset = COCO2014(coco)
    path = dataset.image_path(0)
    Image.new("RGB", (HEIGHT, WIDTH)).save(path)
    with pytest.raises(DataError, match=r"0004.jpg: expected 16 x 12 pixels as in .*got 12 x 16"):
        dataset[0]
    assert COCO2014(coco, masks=False)[0].image.size == (HEIGHT, WIDTH)
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"0004.jpg: the image is damaged \(.*truncated"):
        dataset[0]
    path.unlink()
    with pytest.raises(MissingDataError, match=r"0004.jpg: no such file"):
        dataset[0]


def test_without_pycocotools_the_extra_is_named(coco: Path) -> None:
    code = code_that_hides(["pycocotools"]) + (
        f"from fsr.data import COCO2014\nCOCO2014({str(coco)!r})\n"
    )
    done = run_code(code)
    assert "pip install 'fsr-wsss[coco]'" in done.stderr


# -- cache ----------------------------------------------------------------------------------------


def test_the_cache_is_filled_on_the_way_and_read_back(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, dataset = COCO2014(coco), COCO2014(coco, cache=tmp_path / "masks")
    folder = tmp_path / "masks" / "train2014"
    assert [path.name for path in folder.iterdir()] == [STAMP]
    expected = plain[0].target
    assert torch.equal(dataset[0].target, expected)
    path = folder / f"{dataset.names[0]}.png"
    with Image.open(path) as mask:
        assert mask.mode == "P"
    assert [p.name for p in sorted(folder.iterdir())] == [path.name, STAMP]
    monkeypatch.setattr("fsr.data._coco_shapes.Shapes.draw", lambda *_: pytest.fail("drawn again"))
    again = COCO2014(coco, cache=tmp_path / "masks")
    assert torch.equal(again[0].target, expected)


def test_a_cache_of_other_annotations_is_refused(coco: Path, tmp_path: Path) -> None:
    _ = COCO2014(coco, cache=tmp_path)[0]
    change(coco, lambda data: data["annotations"][0].update(area=7))
    with pytest.raises(DataError, match=r"train2014: holds masks drawn from other annotations.*ca"):
        COCO2014(coco, cache=tmp_path)
    (tmp_path / "train2014" / STAMP).unlink()
    with pytest.raises(DataError, match=r"train2014: holds masks drawn from unknown annotations"):
        COCO2014(coco, cache=tmp_path)
    (tmp_path / "train2014" / STAMP).write_text("{")
    with pytest.raises(DataError, match=r"drawn-from.json: cannot be read as JSON .*; delete its"):
        COCO2014(coco, cache=tmp_path)


def test_a_damaged_mask_in_the_cache_is_named(coco: Path, tmp_path: Path) -> None:
    dataset = COCO2014(coco, cache=tmp_path)
    _ = dataset[0]
    path = tmp_path / "train2014" / f"{dataset.names[0]}.png"
    whole = path.read_bytes()
    middle = whole.index(b"IDAT") + 8
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
    with pytest.raises(DataError, match=r"0004.png: the image is damaged.* delete the file to hav"):
        dataset[0]


def test_a_mask_in_the_cache_that_was_cut_short_is_drawn_again(coco: Path, tmp_path: Path) -> None:
    dataset = COCO2014(coco, cache=tmp_path)
    expected = dataset[0].target
    path = tmp_path / "train2014" / f"{dataset.names[0]}.png"
    whole = path.read_bytes()
    for length in (0, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        (path.parent / f".{path.name}.9999999").write_bytes(b"half")
        write_masks(dataset)
        assert path.read_bytes() == whole
        assert list(path.parent.glob(".*")) == []
        path.write_bytes(whole[:length])
        assert torch.equal(dataset[0].target, expected)


def _fill(folder: Path, annotations: Path) -> None:
    cache = MaskCache(folder, annotations)
    for value in range(40):
        cache.write("mask", torch.full((HEIGHT, WIDTH), 3))
        assert cache.read("mask", 3, (WIDTH, HEIGHT)) is not None, value


def test_two_processes_fill_a_cache_at_once(coco: Path, tmp_path: Path) -> None:
    annotations = coco / "annotations" / "instances_train2014.json"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, annotations)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"coco", STAMP, "mask.png"}


# -- preparation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_all_masks_are_written_and_what_is_there_is_left_alone(
    workers: int, coco: Path, tmp_path: Path
) -> None:
    dataset, calls = COCO2014(coco, cache=tmp_path / "m"), []
    _ = dataset.load_target(1)
    done = write_masks(dataset, workers=workers, progress=lambda *c: calls.append(c))
    assert (done, calls) == (2, [(2, 3), (3, 3)])
    plain = COCO2014(coco)
    for index, name in enumerate(plain.names):
        written = read_label_map(tmp_path / "m" / "train2014" / f"{name}.png", 3)
        expected = plain.load_target(index)
        assert expected is not None
        assert torch.equal(written, expected)
    assert write_masks(dataset) == 0
    with pytest.raises(ValueError, match=r"dataset: expected COCO2014 with .* cache=FOLDER"):
        write_masks(plain)


def test_the_table_of_labels_reads_as_a_folder_data_set(coco: Path, tmp_path: Path) -> None:
    dataset = COCO2014(coco, cache=tmp_path)
    write_masks(dataset)
    table = label_table(dataset)
    write_labels(tmp_path / "labels.csv", table.rows, table.class_names, form="onehot")
    folder = FolderDataset(coco / "train2014", tmp_path / "labels.csv", tmp_path / "train2014")
    assert folder.class_names == dataset.class_names
    assert folder.names == dataset.names
    for own, other in zip(dataset, folder, strict=True):
        assert torch.equal(own.labels, other.labels)
        assert torch.equal(own.target, other.target)


def test_missing_images_are_listed(coco: Path) -> None:
    dataset = COCO2014(coco)
    dataset.image_path(1).unlink()
    assert missing_images(dataset) == [dataset.image_path(1)]


def test_splits_that_cannot_be_fetched_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"splits: expected some of train, val, got 'test'"):
        download_coco(tmp_path, ["test"])


def test_only_what_is_not_there_is_fetched(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    name = "torchvision.datasets.utils.download_and_extract_archive"
    monkeypatch.setattr(name, lambda url, root, **_: fetched.append(url.rpartition("/")[2]))
    download_coco(coco, ["train"])
    monkeypatch.setitem(coco_prepare._IMAGES, "train", 4)
    download_coco(coco, ["train"])
    download_coco(coco, ["train", "val"])
    assert fetched == ["train2014.zip", "val2014.zip", "annotations_trainval2014.zip"]


# -- training -------------------------------------------------------------------------------------

SMALL = [
    "data.name=coco",
    "data.train_split=train",
    "data.eval_split=train",
    "data.train_size=null",
    "data.eval_size=null",
    "data.image_size=32",
    "data.batch_size=2",
    "steps=1",
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.projection_dim=8",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}",
    "preset.mask_block=1",
    "eval.at_start=false",
    "eval.image_size=32",
    "run.tensorboard=false",
    "run.sheet_images=0",
]


@pytest.fixture
def train() -> Iterator[Any]:
    pytest.importorskip("omegaconf")
    state = pytest.importorskip("accelerate.state")
    from fsr.cli import _train

    yield _train
    state.AcceleratorState._reset_state(reset_partial_state=True)
    state.GradientState._reset_state()


def test_the_trainer_reads_coco_without_masks_and_measures_with_them(
    coco: Path, train: Any
) -> None:
    from fsr.train import build_datasets, load_config

    options = [f"data.root={coco}", f"data.cache={coco / 'cache'}", *SMALL]
    train_set, eval_set = build_datasets(load_config(overrides=options))
    assert train_set[0].target is None
    assert eval_set[0].target is not None
    assert (coco / "cache" / "train2014" / f"{eval_set[0].name}.png").is_file()


def test_the_trainer_runs_on_coco(coco: Path, train: Any, tmp_path: Path) -> None:
    options = [f"data.root={coco}", f"run.output={tmp_path / 'run'}", *SMALL]
    assert train.main(options, "fsr train") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["evaluations"]["1"]["student"]["images"] == 3
    assert len(results["evaluations"]["1"]["student"]["segmentation_iou"]) == 4


def test_the_trainer_runs_on_a_folder(coco: Path, train: Any, tmp_path: Path) -> None:
    dataset = COCO2014(coco, cache=tmp_path)
    write_masks(dataset)
    table = label_table(dataset)
    write_labels(tmp_path / "labels.csv", table.rows, table.class_names, form="onehot")
    options = [
        *SMALL,
        "data.name=folder",
        f"data.root={coco / 'train2014'}",
        f"data.labels={tmp_path / 'labels.csv'}",
        f"run.output={tmp_path / 'run'}",
    ]
    assert train.main([*options, f"data.masks={tmp_path / 'train2014'}"], "fsr train") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["evaluations"]["1"]["student"]["images"] == 3


def test_the_trainer_refuses_bad_coco_data_in_one_line(
    coco: Path, train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"data.root={coco}", f"run.output={tmp_path / 'run'}", *SMALL]
    assert train.main([*options, "data.eval_split=val"], "fsr train") == train.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "available: train" in error
    other = content()
    other["categories"][0]["name"] = "comb"
    write_json(coco, other, "val")
    (coco / "val2014").mkdir()
    assert train.main([*options, "data.eval_split=val"], "fsr train") == train.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "data.eval_split: expected the classes of COCO2014" in error


@pytest.mark.parametrize("ending", [".JPG", ".jpeg", ".png"])
def test_an_image_in_another_case_or_format_is_found(coco: Path, ending: str) -> None:
    image = coco / "train2014" / "COCO_train2014_000000000004.jpg"
    other = image.with_name(image.stem.lower() + ending)
    Image.open(image).save(other, format="PNG")
    dataset = COCO2014(coco, "train")
    assert dataset.image_path(0) == image
    image.unlink()
    assert dataset.image_path(0) == other
    assert dataset[0].image.size == (WIDTH, HEIGHT)


def test_several_such_images_are_named(coco: Path) -> None:
    image = coco / "train2014" / "COCO_train2014_000000000004.jpg"
    for ending in (".JPG", ".png"):
        Image.open(image).save(image.with_suffix(ending), format="PNG")
    image.unlink()
    with pytest.raises(DataError, match=r"no such file, and several may be meant: COCO_.*\.JPG, C"):
        COCO2014(coco, "train")[0]
