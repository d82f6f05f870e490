"""Classes of a folder in VOC's layout: the names that it lists, or VOC's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fsr._core.text import read_text
from fsr.data._background import is_background
from fsr.data._class_names import check_class_names
from fsr.errors import DataError

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
# Of this package's exports, of labelme's converter, of CVAT.
CLASS_LISTS = ("classes.txt", "class_names.txt", "labelmap.txt")

Colour = tuple[int, int, int]


class VocClasses(NamedTuple):
    """What labels in the masks of a folder stand for.

    Attributes:
        names: names of the C classes, background not among them.
        source: the list that they come from, None where there is none.
        colours: label of each colour, for masks of colours; empty where no list tells.
        indexed: whether the list's order is that of labels: background comes first or is not named.
    """

    names: tuple[str, ...]
    source: Path | None = None
    colours: Mapping[Colour, int] = {}
    indexed: bool = True


class _Entry(NamedTuple):
    name: str
    colour: Colour | None
    line: int


def read_class_list(folder: Path) -> VocClasses | None:
    r"""Read the list of class names that lies in a folder.

    ``classes.txt`` and ``class_names.txt`` name label n in line n + 1, background first, as this
    package and the converter of labelme write them; without background the first line is label 1.
    ``labelmap.txt`` of CVAT has lines ``name:r,g,b::``.

    Args:
        folder: the folder.

    Returns:
        The classes; None where there is no such list.

    Raises:
        DataError: a list cannot be read, or two lists differ.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "classes.txt").write_text("background\ncat\ndog\n")
        >>> read_class_list(folder).names
        ('cat', 'dog')
    """
    found = [_read(folder / name) for name in CLASS_LISTS if (folder / name).is_file()]
    if not found:
        return None
    # Where CVAT's list is one of several it tells the colours too.
    chosen = next((classes for classes in found if classes.colours), found[0])
    for classes in found:
        if classes.names != chosen.names:
            raise DataError(
                f"{folder}: {_name(chosen)} and {_name(classes)} list other classes, "
                f"{', '.join(chosen.names)} and {', '.join(classes.names)}; take out the one that "
                "is wrong"
            )
    return chosen


def voc_classes(folder: Path, asked: Sequence[str] | None = None) -> VocClasses:
    """Return the classes of a folder in VOC's layout: those it lists, else VOC's 20.

    Args:
        folder: the folder.
        asked: names that the caller takes the classes for, None to take what there is.

    Raises:
        DataError: a list cannot be read, or says otherwise than what is asked.
    """
    listed = read_class_list(folder)
    if asked is None:
        return listed or VocClasses(VOC_CLASSES)
    names = check_class_names("class_names", asked)
    if listed is not None and listed.names != names:
        raise DataError(
            f"class_names: expected those of {listed.source}, {', '.join(listed.names)}, got "
            f"{', '.join(names)}"
        )
    return listed or VocClasses(names)


def check_class_list(masks: Path, names: Sequence[str]) -> None:
    r"""Raise if the list that lies with a folder of masks, in it or above, names other classes.

    Lists without background first are of other tools and other numbers, and say nothing of masks.

    Args:
        masks: folder of masks of class indices.
        names: names of the classes that they are taken for.

    Raises:
        DataError: it names others, or in another order.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "classes.txt").write_text("background\ncat\ndog\n")
        >>> check_class_list(folder, ["cat", "dog"])
        >>> check_class_list(folder, ["dog", "cat"])
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: .../classes.txt: the masks in ... are of cat, dog, expected dog, ...
    """
    for folder in (masks, masks.parent):
        for path in (folder / name for name in CLASS_LISTS[:2]):
            try:
                listed = read_text(path).rstrip().split("\n")
            except DataError:
                continue
            first, *others = (line.strip() for line in listed)
            if is_background(first) and others != list(names):
                raise DataError(
                    f"{path}: the masks in {masks} are of {', '.join(others) or 'no classes'}, "
                    f"expected {', '.join(names)}; take masks of these classes"
                )


def _name(classes: VocClasses) -> str:
    return classes.source.name if classes.source else "VOC"


def _read(path: Path) -> VocClasses:
    """Read one list."""
    entries = _entries(path)
    # The converter of labelme knows a label below background, which no mask holds.
    if entries and entries[0].name == "__ignore__":
        entries = entries[1:]
    behind = [entry for entry in entries[1:] if is_background(entry.name)]
    mapped = path.name == CLASS_LISTS[2]
    if len(behind) > 1 or (behind and not (mapped and not is_background(entries[0].name))):
        raise DataError(
            f"{path}: line {behind[0].line}: expected {behind[0].name!r} in the first line alone: "
            "labels are numbers of lines"
        )
    classes = [entry for entry in entries if not is_background(entry.name)]
    names = check_class_names(path, [entry.name for entry in classes])
    return VocClasses(names, path, _colours(path, entries, names), not behind)


def _entries(path: Path) -> list[_Entry]:
    """Return names and colours in a list, with their lines."""
    lines = read_text(path).rstrip().split("\n")
    entries = []
    mapped = path.name == CLASS_LISTS[2]
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if mapped and (not text or text.startswith("#")):
            continue
        if not text:
            raise DataError(
                f"{path}: line {number}: expected the name of a class, got nothing; labels are "
                "numbers of lines"
            )
        name, _, rest = text.partition(":") if mapped else (text, "", "")
        colour = _colour(f"{path}: line {number}", rest.partition(":")[0])
        entries.append(_Entry(name.strip(), colour, number))
    return entries


def _colour(where: str, text: str) -> Colour | None:
    """Return a colour spelled ``r,g,b``, None if there is none."""
    if not text.strip():
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts):
        raise DataError(f"{where}: expected a colour r,g,b of numbers in 0..255, got {text!r}")
    red, green, blue = map(int, parts)
    return red, green, blue


def _colours(path: Path, entries: Sequence[_Entry], names: Sequence[str]) -> dict[Colour, int]:
    """Return the label of each colour; none if a class has no colour."""
    found: dict[Colour, int] = {}
    for entry in entries:
        if entry.colour is None:
            return {}
        label = 0 if is_background(entry.name) else names.index(entry.name) + 1
        if found.setdefault(entry.colour, label) != label:
            raise DataError(
                f"{path}: line {entry.line}: {entry.name!r} has the colour of another class, "
                f"{','.join(map(str, entry.colour))}"
            )
    # What no list says has VOC's colour of background.
    if 0 not in found.values():
        found.setdefault((0, 0, 0), 0)
    return found
