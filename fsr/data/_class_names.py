"""Names of classes that a table, a network and a label map can hold."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fsr._core.labels import MOST_CLASSES
from fsr.errors import DataError

# Words of a table of labels: heads of columns, and what parts the classes of a cell.
IMAGE, LABELS, SEPARATOR = "image", "labels", ";"
# Spaces, bars and hyphens between letters: spelling, where they stand between digits they are not.
_GAP = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")
# Letters of other scripts that look like Latin ones.
_TWINS = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u03bf",
    "aeopcyxijshdqwo",
)
# What shows nothing: soft hyphens, spaces of no width, marks of direction, fillers.
_UNSEEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb]"
    # Joiners belong into words of some scripts, but not at an end or beside ASCII.
    "|(?:^|[\u0000-\u007f])[\u200c\u200d]|[\u200c\u200d](?:[\u0000-\u007f]|$)"
)


def check_class_names(where: str | Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple; raise if they could not be told apart or written.

    Args:
        where: file or argument that they come from, for the message.
        names: names of the classes, background not among them.

    Raises:
        DataError: there are none or too many, or a name is empty, comes twice, looks like another,
            holds what cannot be seen, or means something else in a table.

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
    check_alike(where, names)
    for name in names:
        if not is_text(name) or SEPARATOR in name or name in (IMAGE, LABELS):
            raise DataError(
                f"{where}: {name!r} cannot name a class: expected a name without {SEPARATOR!r} and "
                f"without spaces around it, other than {IMAGE!r} and {LABELS!r}"
            )
        if _UNSEEN.search(name):
            raise DataError(
                f"{where}: {name!a} cannot name a class: it holds a character that cannot be seen; "
                "write the name anew"
            )
        if likeness(name).strip("_") == "background":
            raise DataError(
                f"{where}: {name!r} is no class: it is what no class covers; leave it out"
            )
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(f"{where}: expected each class once, got {twice[0]!r} twice")
    return names


def check_alike(where: str | Path, names: Iterable[str]) -> None:
    r"""Raise if two different names look alike: each would be a negative for the other.

    Args:
        where: file or argument that they come from, for the message.
        names: names of classes, in any number and order.

    Raises:
        DataError: with both names, their odd characters spelled out.

    Example:
        >>> check_alike("labels.csv", ["cat", "dog", "Cat"])
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: labels.csv: 'cat' and 'Cat' look alike, but would be two classes; ...
    """
    pair = find_alike(names)
    if pair is not None:
        raise DataError(f"{where}: {spell_alike(*pair)}")


def find_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different names that look alike, None where all can be told apart."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(likeness(name), name)
        if other != name:
            return other, name
    return None


def spell_alike(one: str, other: str) -> str:
    """Say that two names look alike, and show what differs."""
    # Escapes show what cannot be seen; a difference in case needs none.
    shown = map(repr if one.casefold() == other.casefold() else ascii, (one, other))
    return (
        f"{' and '.join(shown)} look alike, but would be two classes; "
        "spell the class in one way, or give one of two classes another name"
    )


def likeness(name: str) -> str:
    r"""Return what a reader sees in a name: names that share it are taken for one.

    Case, Unicode's several forms of a letter, spaces, hyphens and bars between words, characters
    that show nothing and letters of other scripts that look Latin make no difference.

    Args:
        name: name of a class.

    Example:
        >>> likeness("Traffic_Light") == likeness("traffic  light\u200b"), likeness("1-2")
        (True, '1-2')
    """
    # Folding may leave letters apart that are written as one.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(c for c in folded if not _is_unseen(c)).translate(_TWINS)
    return _GAP.sub("", " ".join(seen.split()))


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


def _is_unseen(character: str) -> bool:
    if character.isspace():
        return False
    # The last is a mark behind a sign that asks for its picture.
    return (
        unicodedata.category(character) == "Cf"
        or bool(_UNSEEN.match(character))
        or character == "\ufe0f"
    )
