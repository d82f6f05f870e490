"""What a file of boxes in VOC's XML says of an image."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

from fsr._core.regular import check_regular
from fsr.data._relative import image_stem, turned
from fsr.errors import DataError, MissingDataError

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
    root = _parse(path)
    objects = _children(root, OBJECT)
    if _local(root) != ROOT and not objects:
        raise DataError(
            f"{path}: expected VOC's XML, one <{ROOT}> with an <{OBJECT}> per box, got "
            f"<{_local(root)}>"
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


def _parse(path: Path) -> ElementTree.Element:
    """Parse a file, once to look for entities and once to read it."""

    def refuse(name: str, *_: object) -> None:
        raise DataError(
            f"{path}: declares the entity {name!r}, which VOC's XML has no need of; take it out"
        )

    check_regular(path)
    try:
        if not path.is_file():
            raise MissingDataError(f"{path}: no such file")
        content = path.read_bytes()
        check = expat.ParserCreate()
        check.EntityDeclHandler = refuse
        check.Parse(content, True)
        return ElementTree.fromstring(content)
    except DataError:
        raise
    # An unknown encoding is a LookupError or ValueError.
    except (expat.ExpatError, SyntaxError, ValueError, LookupError, OSError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from error


def _local(item: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return item.tag.rpartition("}")[2]


def _children(item: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in item if _local(child) == name]


def _text(item: ElementTree.Element, name: str) -> str:
    """Return the text of the first child of that name, empty if there is none."""
    return next(((child.text or "").strip() for child in _children(item, name)), "")
