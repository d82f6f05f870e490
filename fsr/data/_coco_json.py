"""COCO's JSON of instances, with every entry checked and named by its place."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fsr._core.text import read_json
from fsr.data._background import is_background
from fsr.errors import DataError

PARTS = ("images", "annotations", "categories")
_MOST_SHOWN = 20
# What stands in most entries, and makes a good part of the file.
_UNREAD = frozenset(
    {"bbox", "caption", "coco_url", "date_captured", "flickr_url", "keypoints", "license"}
)

Entry = dict[str, Any]


class CocoJson(NamedTuple):
    """What a file holds, with integers for ids.

    Attributes:
        path: the file.
        categories: name of each category by id, in the order of ids; names may come twice.
        unused: names that stand for no class and were left out: a background that no annotation
            has, and a parent of all other categories.
        images: entries of the images by id, in the order of ids.
        annotations: entries of the annotations, in the file's order; their images and categories
            are among those above, and their polygons arrays.
    """

    path: Path
    categories: dict[int, str]
    unused: tuple[str, ...]
    images: dict[int, Entry]
    annotations: list[Entry]


def read_coco_json(path: Path) -> CocoJson:
    """Read COCO's JSON of instances and check what every reader needs of it.

    Ids are integers, every image has text for ``file_name``, every category for ``name``, and
    annotations refer to what is there.

    Args:
        path: the file.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such JSON; the message has the place in it.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> content = {"images": [{"id": 1}], "annotations": [], "categories": []}
        >>> _ = path.write_text(json.dumps(content))
        >>> read_coco_json(path)
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: .../a.json: image 1: expected text in 'file_name', got nothing
    """
    content = read_json(path, _lightened)
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: expected COCO's annotations of instances, an object with "
            f"{', '.join(PARTS)}, got {_kind(content)}"
        )
    found = {part: _entries(path, content, part) for part in PARTS}
    categories = _by_id(path, found["categories"], "categories")
    images = _by_id(path, found["images"], "images")
    for number, image in images.items():
        text_of(f"{path}: image {number}", image, "file_name")
    annotations, used = _referring(path, found["annotations"], images, categories)
    names = {
        number: text_of(f"{path}: category {number}", category, "name").strip()
        for number, category in categories.items()
    }
    unused = _standing_for_nothing(categories, names, used)
    return CocoJson(
        path,
        {number: name for number, name in names.items() if number not in unused},
        tuple(names[number] for number in unused),
        images,
        annotations,
    )


def place_of(annotation: Mapping[str, Any], index: int) -> str:
    """Name an annotation in messages: by its id, or by its place where it has none."""
    number = annotation.get("id")
    return f"annotation {number}" if isinstance(number, int) else f"annotations[{index}]"


def text_of(where: str, entry: Mapping[str, Any], field: str) -> str:
    """Return a text of an entry; raise ``DataError`` if there is none."""
    value = entry.get(field)
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text in {field!r}, got {_kind(value)}")
    return value


def _lightened(entry: Entry) -> Entry:
    """Drop what no reader asks for, and hold points as numbers instead of an object each."""
    for field in _UNREAD & entry.keys():
        del entry[field]
    shape = entry.get("segmentation")
    if isinstance(shape, list):
        entry["segmentation"] = [_points(part) for part in shape]
    return entry


def _points(part: Any) -> Any:
    """Return a polygon as an array; what is none stays as it is, for a message that shows it."""
    try:
        return array("d", part) if isinstance(part, list) else part
    # Something else than numbers, or an integer of hundreds of digits.
    except (TypeError, OverflowError):
        return part


def _integer(where: str, entry: Mapping[str, Any], field: str) -> int:
    """Return an id of an entry; some tools write integers as text or with a point."""
    value = entry.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    raise DataError(f"{where}: expected an integer in {field!r}, got {_kind(value)}")


def _entries(path: Path, content: Mapping[str, Any], part: str) -> list[Entry]:
    """Return one of the three lists, of objects."""
    entries = content.get(part)
    if not isinstance(entries, list):
        raise DataError(
            f"{path}: expected COCO's annotations of instances, with a list {part!r}, got "
            f"{_kind(entries)} there"
        )
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {part}[{index}]: expected an object, got {_kind(entry)}")
    return entries


def _by_id(path: Path, entries: Sequence[Entry], part: str) -> dict[int, Entry]:
    """Return entries by id, in the order of ids."""
    found: dict[int, Entry] = {}
    places: dict[int, int] = {}
    for index, entry in enumerate(entries):
        number = _integer(f"{path}: {part}[{index}]", entry, "id")
        if number in found:
            raise DataError(
                f"{path}: {part}[{places[number]}] and {part}[{index}] both have the id {number}; "
                "expected one of its own for each"
            )
        found[number], places[number] = entry, index
    return dict(sorted(found.items()))


def _referring(
    path: Path, entries: Sequence[Entry], images: Mapping[int, Any], categories: Mapping[int, Any]
) -> tuple[list[Entry], set[int]]:
    """Return annotations with integers for references that exist, and the categories they have."""
    found, used = [], set()
    for index, entry in enumerate(entries):
        where = f"{path}: {place_of(entry, index)}"
        image = _integer(where, entry, "image_id")
        category = _integer(where, entry, "category_id")
        if category not in categories:
            known = ", ".join(map(str, list(categories)[:_MOST_SHOWN])) or "none"
            more = ", ..." if len(categories) > _MOST_SHOWN else ""
            raise DataError(f"{where}: unknown category {category}; the file has {known}{more}")
        if image not in images:
            raise DataError(f"{where}: unknown image {image}")
        used.add(category)
        if entry["image_id"] is not image or entry["category_id"] is not category:
            entry = {**entry, "image_id": image, "category_id": category}
        found.append(entry)
    return found, used


def _standing_for_nothing(
    categories: Mapping[int, Entry], names: Mapping[int, str], used: set[int]
) -> list[int]:
    """Return ids of categories that exporters put there, and that no annotation has.

    That is a background, which no class covers, and a parent: Roboflow's category 0 is the
    ``supercategory`` of all others.
    """
    parents = Counter(str(entry.get("supercategory")) for entry in categories.values())
    others = set(parents - Counter(["none"]))  # than one whose own is that
    found = []
    for number, entry in categories.items():
        if number in used:
            continue
        parent = entry.get("supercategory") == "none" and others == {names[number]}
        if is_background(names[number]) or parent:
            found.append(number)
    return found


def _kind(value: Any) -> str:
    """Spell what came instead, short even where it is all of a file."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
