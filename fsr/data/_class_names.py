"""Names of classes that a table, a network and a label map can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fsr.errors import DataError

# Words of a table of labels: heads of columns, and what parts the classes of a cell.
IMAGE, LABELS, SEPARATOR = "image", "labels", ";"
# Masks are bytes: 0 is background, 255 is ignore.
MOST_CLASSES = 254


def check_class_names(where: str | Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple; raise if they could not be told apart or written.

    Args:
        where: file or argument that they come from, for the message.
        names: names of the classes, background not among them.

    Raises:
        DataError: there are none or too many, or a name is empty, comes twice or means something
            else in a table.

    Example:
        >>> check_class_names("class_names", ["cat", "Background"])
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: class_names: 'Background' is no class: it is what no class ...
    """
    names = tuple(names)
    if not 1 <= len(names) <= MOST_CLASSES:
        raise DataError(
            f"{where}: expected 1 to {MOST_CLASSES} classes, got {len(names) or 'none'}"
        )
    for name in names:
        if not is_text(name) or SEPARATOR in name or name in (IMAGE, LABELS):
            raise DataError(
                f"{where}: {name!r} cannot name a class: expected a name without {SEPARATOR!r} and "
                f"without spaces around it, other than {IMAGE!r} and {LABELS!r}"
            )
        if name.lower() == "background":
            raise DataError(
                f"{where}: {name!r} is no class: it is what no class covers; leave it out"
            )
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(f"{where}: expected each class once, got {twice[0]!r} twice")
    return names


def is_text(name: str) -> bool:
    """Tell whether a cell would be read back as it is."""
    if not name or name != name.strip():
        return False
    try:
        name.encode()
    # File names that are no text on this system hold bytes in disguise.
    except UnicodeEncodeError:
        return False
    return "\0" not in name
