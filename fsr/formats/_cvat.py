"""CVAT's XML for images, version 1.1: masks, or polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from fsr._core.files import whole_file
from fsr._core.palette import voc_palette
from fsr.formats._labelled import ClassMask, LabelledImage, check_names, checked, class_masks
from fsr.formats._outlines import without_holes
from fsr.formats._runs import run_lengths

VERSION = "1.1"


def write_cvat(
    path: str | Path,
    images: Iterable[LabelledImage],
    class_names: Sequence[str],
    *,
    polygons: bool = False,
    simplify: float = 0.0,
) -> None:
    """Write label maps as CVAT's "CVAT for images 1.1".

    A task with the same images and labels takes it by *Upload annotations*. A class is one mask per
    image; as polygons every region is one, and one with holes is several in a group, as CVAT's
    polygons have no holes.

    Args:
        path: XML file to write; it appears whole or not at all.
        images: paths and label maps; they may come from a generator.
        class_names: C names.
        polygons: write polygons instead of masks.
        simplify: pixels that polygons may leave the mask's edges by, for fewer points; 0 leaves
            them exact.

    Raises:
        DataError: an image comes twice.
        ImportError: shapely is not installed (extra ``formats``), for polygons.
        TypeError: an argument has the wrong type.
        ValueError: a label, a name or a path cannot be written.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "cvat.xml"
        >>> write_cvat(path, [LabelledImage("a.jpg", torch.tensor([[0, 2, 2]]))], ("cat", "dog"))
        >>> mask = ElementTree.parse(path).find("image/mask")
        >>> mask.get("label"), mask.get("rle"), mask.get("left"), mask.get("width")
        ('dog', '0, 2', '1', '2')
    """
    path = Path(path).expanduser()
    names = check_names(class_names)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = VERSION
    size = _describe(root, names)
    count = 0
    for number, (file, labels) in enumerate(checked(images, len(names))):
        height, width = labels.shape
        of = {"id": str(number), "name": file, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", of)
        for mask in class_masks(labels, names):
            if polygons:
                _add_polygons(image, mask, simplify)
            else:
                _add_mask(image, mask)
        count = number + 1
    size.text = str(count)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    with whole_file(path) as draft:
        draft.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', encoding="utf-8")


def _describe(root: ElementTree.Element, names: Sequence[str]) -> ElementTree.Element:
    """Add the labels with their colours; return the element for the number of images."""
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = "fsr"
    size = ElementTree.SubElement(task, "size")
    ElementTree.SubElement(task, "mode").text = "annotation"
    labels = ElementTree.SubElement(task, "labels")
    for colour, name in zip(voc_palette()[1:], names, strict=False):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "color").text = "#" + bytes(colour).hex()
        ElementTree.SubElement(label, "type").text = "any"
        ElementTree.SubElement(label, "attributes")
    return size


def _add_mask(image: ElementTree.Element, mask: ClassMask) -> None:
    """Add a class as run lengths inside its box."""
    rows, columns = (np.flatnonzero(mask.pixels.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask.pixels[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    box = {"left": left, "top": top, "width": inside.shape[1], "height": inside.shape[0]}
    shape = ElementTree.SubElement(image, "mask", _attributes(mask))
    shape.set("rle", ", ".join(map(str, run_lengths(inside))))
    for name, value in box.items():
        shape.set(name, str(value))


def _add_polygons(image: ElementTree.Element, mask: ClassMask, simplify: float) -> None:
    """Add every region of a class, its pieces in a group."""
    groups = max((int(shape.get("group_id", "0")) for shape in image), default=0)
    for pieces in without_holes(mask.pixels, simplify=simplify):
        groups += len(pieces) > 1
        for piece in pieces:
            shape = ElementTree.SubElement(image, "polygon", _attributes(mask))
            shape.set("points", ";".join(f"{x:.2f},{y:.2f}" for x, y in piece.outer))
            if len(pieces) > 1:
                shape.set("group_id", str(groups))


def _attributes(mask: ClassMask) -> dict[str, str]:
    return {"label": mask.name, "source": "auto", "occluded": "0", "z_order": "0"}
