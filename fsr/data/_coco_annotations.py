"""COCO's annotation file of one split, boiled down to a few arrays."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsr._core.optional import import_extra
from fsr.data._coco_shapes import Shapes, collect_shapes
from fsr.errors import DataError

# Labels are bytes: 0 is background, 255 is ignore.
_MOST_CLASSES = 254


@dataclass(frozen=True)
class CocoAnnotations:
    """What an annotation file says of its N images with annotations, in order of image id.

    Attributes:
        class_names: names of the C categories in the order of their ids.
        files: file name of each image.
        labels: image-level labels, ``(N, C)`` boolean.
        without_annotations: number of images that were left out.
        shapes: sizes and segmentations, None if they were not read.
    """

    class_names: tuple[str, ...]
    files: tuple[str, ...]
    labels: NDArray[np.bool_]
    without_annotations: int
    shapes: Shapes | None


def read_coco_annotations(path: Path, *, masks: bool = True) -> CocoAnnotations:
    """Read an annotation file in COCO's format for instances.

    Args:
        path: the JSON file.
        masks: read the segmentations too.

    Returns:
        What it says of the images that have annotations.

    Raises:
        ImportError: pycocotools is not installed (extra ``coco``).
        DataError: the file cannot be read, is no such file, or holds something that cannot be used.
    """
    coco = _load(path)
    try:
        class_names, class_of = _categories(coco.dataset["categories"])
        images = _images(coco.dataset["images"])
        _check_references(coco.dataset["annotations"], images, class_of)
        kept = [number for number in images if coco.imgToAnns.get(number)]
        if not kept:
            raise ValueError(f"expected annotations, none of its {len(images)} images has one")
        labels = np.zeros((len(kept), len(class_names)), dtype=np.bool_)
        for row, number in enumerate(kept):
            labels[row, [class_of[a["category_id"]] for a in coco.imgToAnns[number]]] = True
        drawn = ((_size(images[number]), coco.imgToAnns[number]) for number in kept)
        shapes = collect_shapes(drawn, class_of) if masks else None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected COCO's annotations of instances, which have images, annotations and "
            f"categories ({type(error).__name__}: {error})"
        ) from error
    return CocoAnnotations(
        class_names=class_names,
        files=tuple(images[number]["file_name"] for number in kept),
        labels=labels,
        without_annotations=len(images) - len(kept),
        shapes=shapes,
    )


def _load(path: Path) -> Any:
    """Read the file with pycocotools, which tells its progress on stdout."""
    module = import_extra("pycocotools.coco", "coco", "reading MS COCO")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return module.COCO(str(path))
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as COCO's annotations of instances; unpack it again from the "
            f"official archive ({type(error).__name__}: {error})"
        ) from error


def _categories(categories: Sequence[Any]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names in order of id, and the class index of each id."""
    names = {_id(category): str(category["name"]) for category in sorted(categories, key=_id)}
    if len(names) != len(categories) or len(set(names.values())) != len(categories):
        raise ValueError("expected categories with an id and a name of their own, some share one")
    if not 1 <= len(names) <= _MOST_CLASSES:
        raise ValueError(f"expected 1 to {_MOST_CLASSES} categories, got {len(names)}")
    return tuple(names.values()), {number: index for index, number in enumerate(names)}


def _images(images: Sequence[Any]) -> dict[int, Any]:
    """Return the images by id, in order."""
    found = {_id(image): image for image in sorted(images, key=_id)}
    if len(found) != len(images):
        raise ValueError("expected every image to have an id of its own, some share one")
    first: dict[str, int] = {}
    for number, image in found.items():
        name = Path(image["file_name"]).stem
        if name in first:
            raise ValueError(
                f"images {first[name]} and {number} are both named {name!r}; a name stands for one "
                "image"
            )
        first[name] = number
    return found


def _id(item: Any) -> int:
    number = item["id"]
    if not isinstance(number, int):
        raise TypeError(f"expected an integer id, got {number!r}")
    return number


def _check_references(
    annotations: Sequence[Any], images: dict[int, Any], class_of: dict[int, int]
) -> None:
    """Raise for an annotation of an image or a category that the file does not have."""
    for item in annotations:
        if item["category_id"] not in class_of:
            known = ", ".join(map(str, class_of))
            raise ValueError(
                f"annotation {item['id']}: unknown category {item['category_id']}; the file has "
                f"{known}"
            )
        if item["image_id"] not in images:
            raise ValueError(f"annotation {item['id']}: unknown image {item['image_id']}")


def _size(image: Any) -> tuple[int, int]:
    """Return width and height."""
    width, height = image["width"], image["height"]
    if not all(isinstance(side, int) and side > 0 for side in (width, height)):
        raise ValueError(f"image {image['id']}: expected a size, got {width!r} x {height!r}")
    return width, height
