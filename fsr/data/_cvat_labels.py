"""Tables of image-level labels from CVAT's XML for images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from fsr.data._found_classes import found_table
from fsr.data._label_table import LabelTable
from fsr.data._relative import check_inside, turned
from fsr.data._xml import local_name, read_xml
from fsr.errors import DataError

ROOT, IMAGE, TRACK, LABEL = "annotations", "image", "track", "label"
# What an image holds besides shapes and tags.
_OTHERS = ("attribute",)


def labels_from_cvat(
    annotations: str | Path, class_names: Sequence[str] | None = None
) -> LabelTable:
    """Labels of images with annotations in CVAT's XML: the labels of all shapes and tags.

    Args:
        annotations: the XML file of an export as *CVAT for images 1.1*.
        class_names: the labels to keep, in order, others are left out; by default all, sorted.

    Returns:
        One row per image, those without a shape or tag included.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such XML, declares entities, is of a video, an image comes twice or
            leaves the folder of images, a shape has no label, or none has a label to keep.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "annotations.xml"
        >>> tags = '<tag label="dog"/><box label="cat" xtl="0" ytl="0" xbr="9" ybr="9"/>'
        >>> text = f'<annotations><image id="0" name="a.jpg">{tags}</image></annotations>'
        >>> _ = path.write_text(text)
        >>> labels_from_cvat(path).rows
        (LabelRow(image='a.jpg', labels=('cat', 'dog'), line=0),)
    """
    path = Path(annotations).expanduser()
    root = read_xml(path, "CVAT's")
    if local_name(root) != ROOT:
        raise DataError(
            f"{path}: expected CVAT's XML, one <{ROOT}> with an <{IMAGE}> per image, got "
            f"<{local_name(root)}>"
        )
    if any(local_name(item) == TRACK for item in root):
        raise DataError(f"{path}: holds tracks of a video; export it as 'CVAT for images 1.1'")
    found: dict[str, list[str]] = {}
    for image in root:
        if local_name(image) == IMAGE:
            name = _image_name(path, image)
            if name in found:
                raise DataError(f"{path}: image {name!r} comes twice; export one task at a time")
            found[name] = [
                _label(path, name, shape) for shape in image if local_name(shape) not in _OTHERS
            ]
    if not found:
        raise DataError(f"{path}: expected an <{IMAGE}> per image, got none")
    return found_table(path, found, class_names)


def _image_name(path: Path, image: ElementTree.Element) -> str:
    """Return the path of an image."""
    name = image.get("name")
    where = f"{path}: image {image.get('id')!r}: 'name'"
    if name is None:
        raise DataError(f"{where}: expected the path of an image, got nothing")
    return turned(check_inside(where, name))


def _label(path: Path, image: str, shape: ElementTree.Element) -> str:
    """Return the label of a shape or tag."""
    label = (shape.get(LABEL) or "").strip()
    if not label:
        raise DataError(
            f"{path}: image {image!r}: expected a label in every <{local_name(shape)}>, got none"
        )
    return label
