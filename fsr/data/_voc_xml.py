"""What a file of boxes in VOC's XML says of an image."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from fsr.data._relative import image_stem, turned
from fsr.data._xml import local_name, read_xml
from fsr.errors import DataError

ROOT, OBJECT = "annotation", "object"


class VocBoxes(NamedTuple):
    """What one file says.

    Attributes:
        filename: the image that it says it belongs to, None if it does not say.
        classes: class names of all objects, in order, those of parts not among them.
    """

    filename: str | None
    classes: tuple[str, ...]


def read_voc_xml(path: Path) -> VocBoxes:
    """Read a file of boxes in VOC's XML.

    Files that declare entities are refused: a few lines of them can stand for gigabytes of text, or
    for other files of this machine. No annotation tool writes them.

    Args:
        path: the file.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such XML, or an object has no name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.xml"
        >>> _ = path.write_text("<annotation><object><name>dog</name></object></annotation>")
        >>> read_voc_xml(path)
        VocBoxes(filename=None, classes=('dog',))
    """
    root = read_xml(path, "VOC's")
    objects = _children(root, OBJECT)
    if local_name(root) != ROOT and not objects:
        raise DataError(
            f"{path}: expected VOC's XML, one <{ROOT}> with an <{OBJECT}> per box, got "
            f"<{local_name(root)}>"
        )
    classes = tuple(_text(item, "name") for item in objects)
    if "" in classes:
        raise DataError(f"{path}: expected a name in every object, got none")
    return VocBoxes(_text(root, "filename") or None, classes)


def names_image(filename: str, name: str) -> bool:
    r"""Tell whether ``<filename>`` means the image of this name.

    Args:
        filename: what the XML says; folders before it do not count, nor its ending.
        name: name of the image without its ending; folders before it do not count.

    Example:
        >>> names_image("C:\\photos\\a.jpg", "sub/a"), names_image("b.jpg", "a")
        (True, False)
    """
    last = unicodedata.normalize("NFC", PurePosixPath(turned(filename)).name)
    wanted = unicodedata.normalize("NFC", PurePosixPath(name).name)
    return wanted in (last, image_stem(last))


def _children(item: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in item if local_name(child) == name]


def _text(item: ElementTree.Element, name: str) -> str:
    """Return the text of the first child of that name, empty if there is none."""
    return next(((child.text or "").strip() for child in _children(item, name)), "")
