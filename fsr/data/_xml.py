"""XML that strangers wrote: read without expanding anything in it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from fsr._core.regular import check_regular
from fsr.errors import DataError, MissingDataError


def read_xml(path: Path, what: str) -> ElementTree.Element:
    """Return the root of an XML file.

    Files that declare entities are refused: a few lines of them can stand for gigabytes of text, or
    for other files of this machine. No annotation tool writes them.

    Args:
        path: the file.
        what: whose XML it should be, for the message.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no XML, or declares an entity.
    """

    def refuse(name: str, *_: object) -> None:
        raise DataError(
            f"{path}: declares the entity {name!r}, which {what} XML has no need of; take it out"
        )

    check_regular(path)
    # Once to look for entities and once to read it.
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


def local_name(item: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return item.tag.rpartition("}")[2]
