"""Masks in files of annotation tools: each format read back by its own reader, to the pixel."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import DataError, ShapeError
from fsr.formats import (
    FORMATS,
    LabelledImage,
    brush_runs,
    outlines,
    run_lengths,
    without_holes,
    write_annotations,
    write_coco,
    write_cvat,
    write_labelstudio,
    write_yolo,
)

pytest.importorskip("shapely")
pytest.importorskip("pycocotools")

NAMES = ("cat", "sea lion", "dog & <owner>")
Read = dict[str, NDArray[np.int64]]


def drawn() -> Tensor:
    """A ring with an island, one-pixel areas, corners that touch, a class at the border, 255."""
    labels = torch.zeros(23, 31, dtype=torch.int64)
    labels[2:12, 3:15] = 1
    labels[4:10, 5:13] = 0  # a hole
    labels[6:8, 8:10] = 2  # with an island
    labels[5, 6] = 1  # and one of its own class, of one pixel
    labels[0, 0] = labels[22, 30] = 3
    labels[14, 14] = labels[15, 15] = labels[16, 14] = labels[15, 13] = 2  # a hole of corners
    labels[18:23, 0:31:2] = 1
    labels[12:14, 25:31] = 255
    return labels


def noise() -> Tensor:
    return torch.randint(0, 4, (9, 14), generator=torch.Generator().manual_seed(0))


def pictures() -> list[LabelledImage]:
    """What every format is tried on: shapes, noise, all of one class, and nothing."""
    return [
        LabelledImage("sub/drawn one.jpg", drawn()),
        LabelledImage("noise.png", noise()),
        LabelledImage("full.png", torch.full((1, 1), 2, dtype=torch.uint8)),
        LabelledImage("empty.png", torch.zeros(3, 2, dtype=torch.int32)),
        LabelledImage("ignored.png", torch.full((2, 2), 255)),
    ]


def expected() -> Read:
    """The label maps, what is ignored as background."""
    return {
        image.file: np.where(image.labels.numpy() == 255, 0, image.labels.numpy()).astype(np.int64)
        for image in pictures()
    }


def same(found: Read) -> bool:
    wanted = expected()
    return found.keys() == wanted.keys() and all(
        np.array_equal(found[name], wanted[name]) for name in wanted
    )


def filled(points: list[tuple[float, float]], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centres lie inside a polygon, counting the edges right of each."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for (x1, y1), (x2, y2) in itertools.pairwise([*points, points[0]]):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


# -- readers --------------------------------------------------------------------------------------


def read_coco(path: Path) -> Read:
    """By pycocotools."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    found = {}
    for image in coco.loadImgs(coco.getImgIds()):
        labels = np.zeros((image["height"], image["width"]), dtype=np.int64)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            pixels = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == pixels.sum()
            rows, columns = np.nonzero(pixels)
            left, top, width, height = annotation["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
            assert not labels[pixels].any()
            labels[pixels] = annotation["category_id"]
        found[image["file_name"]] = labels
    assert [c["name"] for c in coco.loadCats(sorted(coco.getCatIds()))] == list(NAMES)
    return found


def read_cvat(path: Path) -> Read:
    """By the rules of CVAT's format: runs of 0 and 1 in turn inside a box, or points."""
    root = ElementTree.parse(path).getroot()
    labels = [label.findtext("name") for label in root.iterfind("meta/task/labels/label")]
    assert labels == list(NAMES)
    assert root.findtext("version") == "1.1"
    images = root.findall("image")
    assert root.findtext("meta/task/size") == str(len(images))
    found = {}
    for number, image in enumerate(images):
        assert image.get("id") == str(number)
        height, width = int(image.attrib["height"]), int(image.attrib["width"])
        result = np.zeros((height, width), dtype=np.int64)
        for shape in image:
            value = labels.index(shape.get("label")) + 1
            if shape.tag == "mask":
                runs = [int(run) for run in shape.attrib["rle"].split(",")]
                flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
                top, left = int(shape.attrib["top"]), int(shape.attrib["left"])
                box = flat.reshape(int(shape.attrib["height"]), int(shape.attrib["width"]))
                result[top : top + len(box), left : left + box.shape[1]][box] = value
            else:
                texts = [point.split(",") for point in shape.attrib["points"].split(";")]
                result[filled([(float(x), float(y)) for x, y in texts], height, width)] = value
        found[image.attrib["name"]] = result
    return found


def unpacked(packed: list[int]) -> NDArray[np.uint8]:
    """What thi.ng/rle-pack makes of bytes."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def read(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    return np.array(values, dtype=np.uint8)


def read_labelstudio(path: Path) -> Read:
    """By the rules of Label Studio: brushed pictures of four channels, or points in per cent."""
    interface = ElementTree.parse(path.with_suffix(".xml")).getroot()
    labels = [label.get("value") for label in interface.iter("Label")]
    assert labels == list(NAMES)
    found = {}
    for task in json.loads(path.read_text()):
        file = unquote(task["data"]["image"]).removeprefix("/data/local-files/?d=")
        height, width = expected()[file].shape  # Label Studio reads the picture
        result = np.zeros((height, width), dtype=np.int64)
        (prediction,) = task["predictions"]
        assert len({region["id"] for region in prediction["result"]}) == len(prediction["result"])
        for region in prediction["result"]:
            assert (region["original_height"], region["original_width"]) == (height, width)
            value = region["value"]
            index = labels.index(value[region["type"]][0]) + 1
            if region["type"] == "brushlabels":
                picture = unpacked(value["rle"]).reshape(height, width, 4)
                result[picture[..., 3] > 0] = index
            else:
                points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
                result[filled(points, height, width)] = index
        found[file] = result
    return found


def read_yolo(folder: Path) -> Read:
    """By the rules of YOLO: class and points in parts of the picture, a line per polygon."""
    names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
    assert names == dict(enumerate(NAMES))
    found = {}
    for file, wanted in expected().items():
        height, width = wanted.shape
        result = np.zeros((height, width), dtype=np.int64)
        text = (folder / "labels" / file).with_suffix(".txt").read_text()
        for line in text.splitlines():
            number, *rest = line.split()
            numbers = [float(value) for value in rest]
            assert all(0 <= value <= 1 for value in numbers)
            points = [
                (x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
            ]
            result[filled(points, height, width)] = int(number) + 1
        found[file] = result
    return found


READERS = {
    "coco": read_coco,
    "cvat": read_cvat,
    "labelstudio": read_labelstudio,
    "yolo": read_yolo,
}


@pytest.mark.parametrize("polygons", [False, True], ids=["masks", "polygons"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_back_to_the_pixel(form: str, polygons: bool, tmp_path: Path) -> None:
    path = write_annotations(tmp_path, form, iter(pictures()), NAMES, polygons=polygons)
    assert path == tmp_path / FORMATS[form]
    assert same(READERS[form](path))


@pytest.mark.parametrize("form", FORMATS)
def test_no_image_at_all_gives_a_file_without_images(form: str, tmp_path: Path) -> None:
    path = write_annotations(tmp_path, form, [], NAMES)
    assert (path / "data.yaml" if form == "yolo" else path).is_file()


def test_polygons_of_a_region_with_a_hole_are_one_of_coco_and_a_group_of_cvat(
    tmp_path: Path,
) -> None:
    labels = torch.ones(5, 5, dtype=torch.int64)
    labels[2, 2] = 0
    images = [LabelledImage("a.png", labels)]
    write_coco(tmp_path / "a.json", images, ("cat",), polygons=True)
    (annotation,) = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert sorted(len(piece) for piece in annotation["segmentation"]) == [8, 16]
    write_cvat(tmp_path / "a.xml", images, ("cat",), polygons=True)
    shapes = ElementTree.parse(tmp_path / "a.xml").findall("image/polygon")
    assert [shape.get("group_id") for shape in shapes] == ["1", "1"]


# -- outlines and runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [drawn(), noise()], ids=["drawn", "noise"])
def test_outlines_with_their_holes_are_the_mask(labels: Tensor) -> None:
    for value in (1, 2, 3):
        mask = (labels == value).numpy()
        found = np.zeros_like(mask)
        for outline in outlines(mask):
            region = filled(list(outline.outer), *mask.shape)
            for hole in outline.holes:
                region &= ~filled(list(hole), *mask.shape)
            assert not (found & region).any()
            found |= region
        assert np.array_equal(found, mask)


def test_regions_share_edges_not_corners() -> None:
    assert len(outlines(np.eye(3, dtype=bool))) == 3
    assert len(outlines(np.ones((3, 3), dtype=bool))) == 1
    assert outlines(np.zeros((3, 3), dtype=bool)) == []


def test_simplified_outlines_have_fewer_points_and_stay_near_the_edge() -> None:
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    ring = (distance < 25) & (distance > 12)
    (exact,), (simple,) = outlines(ring), outlines(ring, simplify=1.0)
    assert len(simple.outer) < len(exact.outer) / 3
    assert max(abs(math.hypot(x - 30.5, y - 30.5) - 25) for x, y in simple.outer) < 1.5
    (pieces,) = without_holes(ring, simplify=1.0)
    assert [piece.holes for piece in pieces] == [()] * len(pieces)
    together = sum(filled(list(piece.outer), 60, 60).astype(int) for piece in pieces)
    assert (together <= 1).all()
    assert ((together > 0) != ring).mean() < 0.03


def test_a_hole_that_touches_the_outline_in_points_is_cut_too() -> None:
    import shapely

    from fsr.formats._outlines import _cut

    diamond = [(0, 2), (2, 0), (4, 2), (2, 4)]
    region = shapely.Polygon([(-1, 0), (5, 0), (5, 4), (-1, 4)], [diamond])
    pieces = _cut(region)
    assert all(not piece.interiors for piece in pieces)
    assert sum(piece.area for piece in pieces) == region.area == 16


@pytest.mark.parametrize(
    ("mask", "lengths"),
    [
        ([[False, True, True]], [1, 2]),
        ([[True], [False]], [0, 1, 1]),
        ([[False, False]], [2]),
        ([[]], []),
    ],
)
def test_runs_begin_with_false(mask: list[list[bool]], lengths: list[int]) -> None:
    assert run_lengths(np.array(mask, dtype=bool)) == lengths


def test_brushed_masks_of_long_runs_are_unpacked_by_the_formats_rules() -> None:
    mask = np.zeros((300, 301), dtype=bool)
    mask[100:250, 3:280] = True
    assert np.array_equal(unpacked(brush_runs(mask)).reshape(300, 301, 4)[..., 0] > 0, mask)
    assert len(brush_runs(mask)) < 1500


# -- refusals -------------------------------------------------------------------------------------

ONE = torch.ones(2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("images", "names", "error", "message"),
    [
        ([("a", ONE), ("a", ONE)], NAMES, DataError, "images: 'a' comes twice"),
        ([("../a", ONE)], NAMES, ValueError, "file: expected a path inside the folder of images"),
        ([("/a", ONE)], NAMES, ValueError, "file: expected a path inside the folder of images"),
        ([("a\n", ONE)], NAMES, ValueError, r"file: expected text without line .* got 'a\\n'"),
        ([("\ud800", ONE)], NAMES, ValueError, r"file: expected text .* got '\\ud800'"),
        ([(1, ONE)], NAMES, TypeError, "file: expected the path of an image as text, got 1"),
        ([("a", ONE[0])], NAMES, ShapeError, r"labels: expected shape \(height, width\)"),
        ([("a", ONE * 0.5)], NAMES, TypeError, "labels: expected integers, got torch.float32"),
        ([("a", ONE * 4)], NAMES, ValueError, "labels: expected 0..3 or 255 in 'a', got 4"),
        ([("a", -ONE)], NAMES, ValueError, "labels: expected 0..3 or 255 in 'a', got -1"),
        ([], (), ValueError, "class_names: expected each class once, at least one"),
        ([], ("a", "a"), ValueError, "class_names: expected each class once"),
        ([], "cat", TypeError, "class_names: expected a list or tuple of names, got str"),
        ([], ("a\x00",), ValueError, r"class_names: expected text .* got 'a\\x00'"),
        ([], (1,), TypeError, "class_names: expected names, got 1"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_what_no_file_could_hold_is_refused_and_nothing_is_left(
    form: str, images: Any, names: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        write_annotations(tmp_path / "out", form, itertools.starmap(LabelledImage, images), names)
    assert not (tmp_path / "out" / FORMATS[form]).is_file()
    assert not (tmp_path / "out" / "yolo" / "data.yaml").exists()


def test_images_of_one_name_cannot_share_yolos_text(tmp_path: Path) -> None:
    images = [LabelledImage("a.jpg", ONE), LabelledImage("a.png", ONE)]
    with pytest.raises(DataError, match=r"'a.jpg' and 'a.png' would both have the labels a.txt"):
        write_yolo(tmp_path, images, NAMES)


def test_wrong_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"form: expected one of 'coco', .*, got 'voc'"):
        write_annotations(tmp_path, "voc", [], NAMES)
    with pytest.raises(ValueError, match="simplify: expected a number in"):
        outlines(np.ones((2, 2), dtype=bool), simplify=-1)
    functions: tuple[Any, ...] = (outlines, without_holes)
    for function in functions:
        with pytest.raises(TypeError, match=r"pixels: expected a boolean array .* got uint8"):
            function(np.ones((2, 2), dtype=np.uint8))
    functions = (run_lengths, brush_runs)
    for function in functions:
        with pytest.raises(TypeError, match="pixels: expected a boolean array, got list"):
            function([[True]])
    with pytest.raises(ValueError, match=r"pixels: expected 1 to .* pixels, got 0"):
        brush_runs(np.zeros((0, 2), dtype=bool))
    with pytest.raises(ValueError, match="path: expected a JSON file, got"):
        write_labelstudio(tmp_path / "a.xml", [], NAMES)
    with pytest.raises(TypeError, match="images_at: expected an address as text, got None"):
        write_labelstudio(tmp_path / "a.json", [], NAMES, images_at=None)


@pytest.mark.parametrize("package", ["shapely", "pycocotools"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'fsr-wsss\[formats\]'"):
        write_coco(
            tmp_path / "a.json", [LabelledImage("a", ONE)], NAMES, polygons=package == "shapely"
        )
    write_cvat(tmp_path / "a.xml", [LabelledImage("a", ONE)], NAMES)
