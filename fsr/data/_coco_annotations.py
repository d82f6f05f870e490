"""COCO's annotation file of one split, boiled down to a few arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsr._core.optional import import_extra
from fsr.data._class_names import check_class_names
from fsr.data._coco_json import CocoJson, place_of, read_coco_json
from fsr.data._coco_shapes import Shapes, collect_shapes
from fsr.data._packed_texts import PackedTexts
from fsr.data._relative import check_inside, turned
from fsr.errors import DataError

# A label map takes 8 bytes a pixel: what a file says is not taken for more than a machine has.
_MOST_PIXELS = 1 << 30


@dataclass(frozen=True)
class CocoAnnotations:
    """What an annotation file says of its N images with annotations, in order of image id.

    Attributes:
        class_names: names of the C categories in the order of their ids.
        unused: names of categories that stand for no class and were left out.
        files: path of each image inside the folder of images.
        labels: image-level labels, ``(N, C)`` boolean.
        without_annotations: number of images that were left out.
        shapes: sizes and segmentations, None if they were not read.
    """

    class_names: tuple[str, ...]
    unused: tuple[str, ...]
    files: PackedTexts
    labels: NDArray[np.bool_]
    without_annotations: int
    shapes: Shapes | None


def read_coco_annotations(path: Path, images: Path, *, masks: bool = True) -> CocoAnnotations:
    """Read an annotation file in COCO's format for instances.

    Args:
        path: the JSON file.
        images: folder of the images, to tell names with a backslash from paths of Windows.
        masks: read the segmentations too.

    Returns:
        What it says of the images that have annotations.

    Raises:
        ImportError: pycocotools is not installed (extra ``coco``).
        MissingDataError: there is no such file.
        DataError: the file cannot be read, is no such file, or holds something that cannot be used.
    """
    import_extra("pycocotools.mask", "coco", "reading MS COCO")
    coco = read_coco_json(path)
    class_names, class_of = _categories(coco)
    files = _files(coco, images)
    found: dict[int, list[Mapping[str, Any]]] = {number: [] for number in coco.images}
    for item in coco.annotations:
        found[item["image_id"]].append(item)
    kept = [number for number, items in found.items() if items]
    if not kept:
        raise DataError(
            f"{path}: expected annotations, none of its {len(coco.images)} images has one"
        )
    labels = np.zeros((len(kept), len(class_names)), dtype=np.bool_)
    for row, number in enumerate(kept):
        labels[row, [class_of[item["category_id"]] for item in found[number]]] = True
    return CocoAnnotations(
        class_names=class_names,
        unused=coco.unused,
        files=PackedTexts(files[number] for number in kept),
        labels=labels,
        without_annotations=len(coco.images) - len(kept),
        shapes=_shapes(coco, kept, found, class_of) if masks else None,
    )


def _categories(coco: CocoJson) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names in order of id, and the class index of each id."""
    first: dict[str, int] = {}
    for number, name in coco.categories.items():
        if name in first:
            raise DataError(
                f"{coco.path}: categories {first[name]} and {number} are both named {name!r}; "
                "rename one, or give the annotations of both one id"
            )
        first[name] = number
    names = check_class_names(coco.path, list(first))
    return names, {number: index for index, number in enumerate(coco.categories)}


def _files(coco: CocoJson, folder: Path) -> dict[int, str]:
    """Return the file of each image; raise if two have one name."""
    files: dict[int, str] = {}
    first: dict[str, int] = {}
    for number, image in coco.images.items():
        file = check_inside(f"{coco.path}: image {number}: 'file_name'", image["file_name"])
        # A name may hold a backslash elsewhere than on Windows.
        if "\\" in file and not os.path.isfile(folder / file):
            file = turned(file)
        files[number] = file
        name = PurePosixPath(file).stem
        if name in first:
            raise DataError(
                f"{coco.path}: images {first[name]} and {number} are both named {name!r}; a name "
                "stands for one image"
            )
        first[name] = number
    return files


def _shapes(
    coco: CocoJson,
    kept: list[int],
    found: Mapping[int, list[Mapping[str, Any]]],
    class_of: Mapping[int, int],
) -> Shapes:
    """Return the segmentations of the images that have any."""
    for index, item in enumerate(coco.annotations):
        number = item.get("id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise DataError(
                f"{coco.path}: {place_of(item, index)}: expected an integer in 'id', got {number!r}"
            )
    try:
        drawn = ((_size(coco.images[number], number), found[number]) for number in kept)
        return collect_shapes(drawn, class_of)
    except ValueError as error:
        raise DataError(f"{coco.path}: {error}") from error


def _size(image: Mapping[str, Any], number: int) -> tuple[int, int]:
    """Return width and height."""
    width, height = image.get("width"), image.get("height")
    sides = [side for side in (width, height) if type(side) is int and side > 0]
    if len(sides) < 2:
        raise ValueError(f"image {number}: expected a size, got {width!r} x {height!r}")
    if sides[0] * sides[1] > _MOST_PIXELS:
        raise ValueError(
            f"image {number}: expected at most {_MOST_PIXELS} pixels, got {width} x {height}"
        )
    return sides[0], sides[1]
