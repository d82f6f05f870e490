"""COCO's JSON of instances: run lengths of every class, or polygons of every region."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fsr._core.files import whole_file
from fsr._core.optional import import_extra
from fsr._core.version import __version__
from fsr.formats._labelled import ClassMask, LabelledImage, check_names, checked, class_masks
from fsr.formats._outlines import Outline, without_holes


def write_coco(
    path: str | Path,
    images: Iterable[LabelledImage],
    class_names: Sequence[str],
    *,
    polygons: bool = False,
    simplify: float = 0.0,
) -> None:
    """Write label maps as COCO's JSON of instances.

    Class c has the category c + 1. As run lengths an annotation is all of a class in an image. As
    polygons it is one region: pixels that share an edge. COCO's polygons have no holes, so that a
    region with holes is cut into pieces, together one annotation.

    Args:
        path: JSON file to write; it appears whole or not at all.
        images: paths and label maps; they may come from a generator.
        class_names: C names.
        polygons: write polygons instead of run lengths.
        simplify: pixels that polygons may leave the mask's edges by, for fewer points; 0 leaves
            them exact.

    Raises:
        DataError: an image comes twice.
        ImportError: pycocotools is not installed (extra ``formats``), or shapely for polygons.
        TypeError: an argument has the wrong type.
        ValueError: a label, a name or a path cannot be written.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "coco.json"
        >>> write_coco(path, [LabelledImage("a.jpg", torch.tensor([[0, 2]]))], ("cat", "dog"))
        >>> content = json.loads(path.read_text())
        >>> [(each["category_id"], each["bbox"]) for each in content["annotations"]]
        [(2, [1.0, 0.0, 1.0, 1.0])]
    """
    path = Path(path).expanduser()
    names = check_names(class_names)
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (file, labels) in enumerate(checked(images, len(names)), start=1):
        height, width = labels.shape
        entries.append({"id": number, "file_name": file, "width": width, "height": height})
        for mask in class_masks(labels, names):
            shapes = _polygons(mask, simplify) if polygons else [_runs(mask)]
            for shape in shapes:
                at = {"id": len(annotations) + 1, "image_id": number}
                kind = {"category_id": mask.number + 1, "iscrowd": 0}
                annotations.append({**at, **kind, **shape})
    content = {
        "info": {"description": f"written by fsr-wsss {__version__}"},
        "licenses": [],
        "images": entries,
        "annotations": annotations,
        "categories": [
            {"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(names)
        ],
    }
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _runs(mask: ClassMask) -> dict[str, Any]:
    """Return all of a class as compressed run lengths."""
    codec = import_extra("pycocotools.mask", "formats", "COCO's run lengths")
    runs = codec.encode(np.asfortranarray(mask.pixels.astype(np.uint8)))
    return {
        "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")},
        "area": float(codec.area(runs)),
        "bbox": [float(value) for value in codec.toBbox(runs)],
    }


def _polygons(mask: ClassMask, simplify: float) -> Iterator[dict[str, Any]]:
    """Yield every region of a class as polygons without holes."""
    for pieces in without_holes(mask.pixels, simplify=simplify):
        points = list(chain.from_iterable(piece.outer for piece in pieces))
        across, down = zip(*points, strict=True)
        left, top = min(across), min(down)
        yield {
            "segmentation": [list(chain.from_iterable(piece.outer)) for piece in pieces],
            "area": sum(map(_area, pieces)),
            "bbox": [left, top, max(across) - left, max(down) - top],
        }


def _area(piece: Outline) -> float:
    """Area of a polygon, by the sum over its edges."""
    x, y = np.array(piece.outer).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
