"""The segmentations of COCO's annotations, held in a few arrays, and label maps drawn from them."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.optional import import_extra
from fsr.cam import BACKGROUND, IGNORE


@dataclass(frozen=True)
class Shapes:
    """Segmentations of all annotations of N images in the order in which they are drawn.

    A few arrays instead of millions of objects: worker processes share or copy them cheaply.

    Attributes:
        sizes: width and height of each image, ``(N, 2)``.
        first: first annotation of each image and the end, ``(N + 1,)``.
        classes: class index of each annotation.
        crowd: whether it is a crowd region.
        polygons: whether it has polygons; else it has one part, run lengths down the columns.
        first_part: first part of each annotation and the end; polygons have several.
        first_value: first value of each part and the end.
        values: coordinates or run lengths.
    """

    sizes: NDArray[np.int64]
    first: NDArray[np.int64]
    classes: NDArray[np.uint16]
    crowd: NDArray[np.bool_]
    polygons: NDArray[np.bool_]
    first_part: NDArray[np.int64]
    first_value: NDArray[np.int64]
    values: NDArray[np.float64]

    def draw(self, index: int, ignored: int = IGNORE) -> Tensor:
        """Draw the label map of an image.

        Larger areas first, so that small objects stay visible on top; crowd regions are 255 where
        nothing else is.

        Args:
            index: index of the image.
            ignored: label of crowd regions.

        Returns:
            ``(height, width)`` int64, 0 = background, c + 1 = class c, 255 = ignore.

        Raises:
            ImportError: pycocotools is not installed (extra ``coco``).
        """
        width, height = self.sizes[index].tolist()
        target = np.full((height, width), BACKGROUND, dtype=np.int64)
        for number in range(self.first[index], self.first[index + 1]):
            inside = self._region(number, height, width)
            if self.crowd[number]:
                target[inside & (target == BACKGROUND)] = ignored
            else:
                # As a Python integer: 16 bits would wrap at the last class.
                target[inside] = int(self.classes[number]) + 1
        return torch.from_numpy(target)

    def _region(self, number: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels ``(height, width)`` of an annotation."""
        codec = import_extra("pycocotools.mask", "coco", "drawing the masks of MS COCO")
        bounds = self.first_value[self.first_part[number] : self.first_part[number + 1] + 1]
        parts = [self.values[start:end] for start, end in itertools.pairwise(bounds)]
        if self.polygons[number]:
            polygons = [part.tolist() for part in parts]
            runs = codec.merge(codec.frPyObjects(polygons, height, width))
        else:
            counts = [int(value) for value in parts[0]]
            runs = codec.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        pixels: NDArray[np.uint8] = codec.decode(runs)
        return pixels.astype(bool)


def collect_shapes(
    images: Iterable[tuple[tuple[int, int], Iterable[Any]]], class_of: Mapping[int, int]
) -> Shapes:
    """Check the segmentations of all images and put them into the order of drawing.

    Args:
        images: width, height and annotations of each image, as in COCO's JSON; not empty.
        class_of: class index of each category id.

    Raises:
        ValueError: a segmentation cannot be drawn, or an annotation has no area; the message has
            the annotation's id.
    """
    sizes: list[tuple[int, int]] = []
    first, first_part, first_value = array("q", [0]), array("q", [0]), array("q", [0])
    classes, crowd, polygons, values = array("H"), array("B"), array("B"), array("d")
    for size, found in images:
        # Crowds last; of two equal areas the later id on top.
        for item in sorted(found, key=lambda a: (_is_crowd(a), -_area(a), a["id"])):
            try:
                drawn, parts = _parts(item.get("segmentation"), *size)
            except ValueError as error:
                raise ValueError(f"annotation {item['id']}: {error}") from None
            for part in parts:
                values.extend(part)
                first_value.append(len(values))
            first_part.append(len(first_value) - 1)
            classes.append(class_of[item["category_id"]])
            crowd.append(_is_crowd(item))
            polygons.append(drawn)
        first.append(len(classes))
        sizes.append(size)
    return Shapes(
        sizes=np.array(sizes, dtype=np.int64),
        first=np.frombuffer(first, dtype=np.int64),
        classes=np.frombuffer(classes, dtype=np.uint16),
        crowd=np.frombuffer(crowd, dtype=np.bool_),
        polygons=np.frombuffer(polygons, dtype=np.bool_),
        first_part=np.frombuffer(first_part, dtype=np.int64),
        first_value=np.frombuffer(first_value, dtype=np.int64),
        values=np.frombuffer(values, dtype=np.float64),
    )


def _is_crowd(annotation: Any) -> bool:
    value = annotation.get("iscrowd") or 0
    if value not in (0, 1):
        raise ValueError(
            f"annotation {annotation['id']}: expected 0 or 1 in 'iscrowd', got {value!r}"
        )
    return bool(value)


def _area(annotation: Any) -> float:
    """Return the area of an annotation, which tells what lies above what."""
    value = annotation.get("area")
    # Among NaN no order is right, and sorting would take any.
    if type(value) not in (int, float) or not _is_finite([value]):
        raise ValueError(
            f"annotation {annotation['id']}: expected a finite number in 'area', got {value!r}"
        )
    return float(value)


def _is_finite(values: Iterable[Any]) -> bool:
    """Tell whether all values are numbers and finite; JSON may hold anything."""
    try:
        return math.isfinite(sum(values))
    # Something else, or an integer of hundreds of digits.
    except (TypeError, OverflowError):
        return False


def _parts(segmentation: Any, width: int, height: int) -> tuple[bool, list[Any]]:
    """Return whether a segmentation has polygons, and its polygons or its run lengths."""
    if isinstance(segmentation, list) and segmentation:
        for polygon in segmentation:
            _check_polygon(polygon, width, height)
        return True, segmentation
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, list | str) or not counts:
        raise ValueError(
            "expected a segmentation of polygons or run lengths; without one there is no mask: "
            "take the annotation out, or read without masks: masks=False"
        )
    if segmentation.get("size") != [height, width]:
        raise ValueError(
            f"expected run lengths of its image's size [{height}, {width}], got "
            f"{segmentation.get('size')}"
        )
    if isinstance(counts, str):
        counts = _run_lengths(counts)
    # pycocotools would leave the pixels that run lengths do not reach as they are in memory.
    if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != width * height:
        raise ValueError(
            f"expected run lengths that add up to {width} x {height} = {width * height} pixels"
        )
    return False, [counts]


def _run_lengths(text: str) -> list[int]:
    """Return the run lengths that pycocotools writes as text; it has no function for this.

    A number takes characters of five bits from "0" on, the lowest first; the sixth bit says that
    more follow. From the fourth number on it is the difference to the last but one.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - ord("0")
        # No run is longer than the machine's integers; more would take ever longer to read.
        if not 0 <= code < 64 or shift > 60:
            raise ValueError(f"expected run lengths as pycocotools writes them, got {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("expected run lengths as pycocotools writes them, got half a number")
    return lengths


def _check_polygon(polygon: Any, width: int, height: int) -> None:
    """Raise for what would be drawn wrong without a word: pycocotools takes 4 numbers for a box."""
    listed = isinstance(polygon, list | array)
    if not listed or len(polygon) < 6 or len(polygon) % 2:
        shown = f"{len(polygon)} numbers" if listed else repr(polygon)
        raise ValueError(
            f"expected polygons of at least 3 points (x, y), got one of {shown}; take it out"
        )
    if not _is_finite(polygon):
        raise ValueError("expected polygons of finite numbers, got one that holds something else")
    reach = max(width, height)
    lowest, highest = min(polygon), max(polygon)
    if lowest < -reach or highest > 2 * reach:
        raise ValueError(
            f"expected a polygon inside its image of {width} x {height} pixels, got coordinates "
            f"from {lowest:g} to {highest:g}"
        )
