"""Label Studio's JSON of tasks with predictions to correct: brushed masks, or polygons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from fsr._core.files import whole_file
from fsr._core.palette import voc_palette
from fsr._core.version import __version__
from fsr.formats._brush import brush_runs
from fsr.formats._labelled import ClassMask, LabelledImage, check_names, checked, class_masks
from fsr.formats._outlines import without_holes

LOCAL_FILES = "/data/local-files/?d="


def write_labelstudio(
    path: str | Path,
    images: Iterable[LabelledImage],
    class_names: Sequence[str],
    *,
    polygons: bool = False,
    simplify: float = 0.0,
    images_at: str = LOCAL_FILES,
) -> None:
    """Write label maps as Label Studio's tasks, the masks as predictions to correct.

    Beside the JSON, with the ending ``.xml``, comes the labelling interface that it fits, for the
    project's settings. A class is one brushed mask per image; as polygons every region is one, and
    one with holes is several.

    Args:
        path: JSON file to write; both files appear whole or not at all.
        images: paths and label maps; they may come from a generator.
        class_names: C names.
        polygons: write polygons instead of brushed masks.
        simplify: pixels that polygons may leave the mask's edges by, for fewer points; 0 leaves
            them exact.
        images_at: address of the folder of images, to which their paths are added; by default that
            of Label Studio's local storage.

    Raises:
        DataError: an image comes twice.
        ImportError: shapely is not installed (extra ``formats``), for polygons.
        TypeError: an argument has the wrong type.
        ValueError: a label, a name or a path cannot be written, or ``path`` ends in ``.xml``.
        OutputError: a file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "tasks.json"
        >>> write_labelstudio(path, [LabelledImage("a.jpg", torch.tensor([[0, 1]]))], ("cat",))
        >>> (task,) = json.loads(path.read_text())
        >>> task["data"], task["predictions"][0]["result"][0]["value"]["brushlabels"]
        ({'image': '/data/local-files/?d=a.jpg'}, ['cat'])
    """
    path = Path(path).expanduser()
    names = check_names(class_names)
    if not isinstance(images_at, str):
        raise TypeError(f"images_at: expected an address as text, got {images_at!r}")
    if path.suffix == ".xml":
        raise ValueError(f"path: expected a JSON file, got {path}; the interface is the XML")
    kind = "polygonlabels" if polygons else "brushlabels"
    tasks = []
    for file, labels in checked(images, len(names)):
        result: list[dict[str, Any]] = []
        for mask in class_masks(labels, names):
            values = _polygons(mask, simplify) if polygons else [_brushed(mask)]
            for value in values:
                result.append(_region(len(result), kind, mask, value))
        found = {"model_version": f"fsr-wsss {__version__}", "result": result}
        tasks.append({"data": {"image": images_at + quote(file)}, "predictions": [found]})
    with whole_file(path) as draft:
        draft.write_text(json.dumps(tasks) + "\n", encoding="utf-8")
    with whole_file(path.with_suffix(".xml")) as draft:
        draft.write_text(_interface(names, polygons), encoding="utf-8")


def _region(number: int, kind: str, mask: ClassMask, value: dict[str, Any]) -> dict[str, Any]:
    """Return one region of a task."""
    height, width = mask.pixels.shape
    return {
        "id": f"r{number}",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, kind: [mask.name]},
    }


def _brushed(mask: ClassMask) -> dict[str, Any]:
    return {"format": "rle", "rle": brush_runs(mask.pixels)}


def _polygons(mask: ClassMask, simplify: float) -> Iterator[dict[str, Any]]:
    """Yield the pieces of all regions, in per cent of the picture."""
    height, width = mask.pixels.shape
    for pieces in without_holes(mask.pixels, simplify=simplify):
        for piece in pieces:
            points = [[100 * x / width, 100 * y / height] for x, y in piece.outer]
            yield {"points": points, "closed": True}


def _interface(names: Sequence[str], polygons: bool) -> str:
    """Return the labelling interface: the image, and a label per class in its colour."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": "image", "value": "$image", "zoom": "true"})
    kind = "PolygonLabels" if polygons else "BrushLabels"
    labels = ElementTree.SubElement(view, kind, {"name": "label", "toName": "image"})
    for colour, name in zip(voc_palette()[1:], names, strict=False):
        of = {"value": name, "background": "#" + bytes(colour).hex()}
        ElementTree.SubElement(labels, "Label", of)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"
