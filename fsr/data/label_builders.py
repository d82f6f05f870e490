"""Tables of image-level labels from what people have: class folders, boxes, COCO JSON or masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from fsr.cam import BACKGROUND, IGNORE
from fsr.data.files import DataError, MissingDataError, read_label_map
from fsr.data.label_table import LabelRow, LabelTable, check_class_names


def labels_from_folders(root: Path) -> LabelTable:
    """Labels of images that lie in one folder per class; the folders' names are the classes.

    Args:
        root: folder of the class folders; images may lie in folders inside them.

    Returns:
        One class per image; paths are relative to ``root``.

    Raises:
        MissingDataError: there is no such folder, or no class folder with an image in it.
        DataError: a folder's name cannot name a class.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "cat").mkdir()
        >>> Image.new("RGB", (4, 4)).save(root / "cat" / "one.jpg")
        >>> labels_from_folders(root).rows
        (LabelRow(image='cat/one.jpg', labels=('cat',), line=0),)
    """
    rows, names = [], []
    for folder in sorted(_existing(root).iterdir()):
        images = list(_images(folder)) if folder.is_dir() else []
        if images:
            names.append(folder.name)
        rows += [LabelRow(path.relative_to(root).as_posix(), (folder.name,)) for path in images]
    if not rows:
        raise MissingDataError(
            f"{root}: expected one folder per class with images in it, found none"
        )
    return LabelTable(check_class_names(root, names), tuple(rows))


def labels_from_voc(annotations: Path, class_names: Sequence[str] | None = None) -> LabelTable:
    """Labels of images with bounding boxes in VOC's XML: the classes of all objects.

    Args:
        annotations: folder of the XML files; an image has the name of its file, without extension.
        class_names: the classes to keep, in order; by default all, sorted.

    Returns:
        One row per file.

    Raises:
        MissingDataError: there is no such folder, or no XML file in it.
        DataError: a file cannot be read, or an object has no name or one that no class can have.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(_existing(annotations).rglob("*.xml")):
        try:
            objects = ElementTree.parse(path).getroot().findall("object")
        except (ElementTree.ParseError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as XML ({error})") from error
        names = [(item.findtext("name") or "").strip() for item in objects]
        if "" in names:
            raise DataError(f"{path}: expected a name in every object, got none")
        found[path.relative_to(annotations).with_suffix("").as_posix()] = names
    if not found:
        raise MissingDataError(f"{annotations}: expected XML files, found none")
    return _table(annotations, found, class_names)


def labels_from_coco(annotations: Path) -> LabelTable:
    """Labels of images with annotations in COCO's JSON: the categories of all of them.

    Args:
        annotations: the JSON file; only ``images``, ``annotations`` and ``categories`` are read.

    Returns:
        One row per image, those without annotations included; classes in the order of their ids.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such JSON, or an annotation names an image or category that is not
            there.
    """
    try:
        content: Any = json.loads(annotations.read_text(encoding="utf-8"))
        categories = sorted((c["id"], str(c["name"]).strip()) for c in content["categories"])
        images = {image["id"]: str(image["file_name"]) for image in content["images"]}
        pairs = [(a["image_id"], a["category_id"]) for a in content["annotations"]]
    except FileNotFoundError as error:
        raise MissingDataError(f"{annotations}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations}: expected COCO's JSON with images, annotations and categories "
            f"({type(error).__name__}: {error})"
        ) from error
    names = dict(categories)
    found: dict[str, list[str]] = {images[number]: [] for number in sorted(images)}
    for image, category in pairs:
        if image not in images or category not in names:
            what = f"image {image}" if image not in images else f"category {category}"
            raise DataError(f"{annotations}: an annotation belongs to {what}, which is not there")
        found[images[image]].append(names[category])
    return _table(annotations, found, [name for _, name in categories])


def labels_from_masks(masks: Path, class_names: Sequence[str]) -> LabelTable:
    """Labels of images with masks: the classes that a mask holds.

    Args:
        masks: folder of PNGs: 0 = background, c + 1 = class c, 255 = ignore.
        class_names: names of the classes, in order.

    Returns:
        One row per mask; an image has the name of its mask, without extension.

    Raises:
        MissingDataError: there is no such folder, or no PNG in it.
        DataError: a mask cannot be read or holds other labels.
    """
    names = check_class_names(masks, class_names)
    rows = []
    for path in sorted(_existing(masks).rglob("*.png")):
        present = np.unique(read_label_map(path, len(names)).numpy())
        labels = tuple(names[c - 1] for c in present if c not in (BACKGROUND, IGNORE))
        rows.append(LabelRow(path.relative_to(masks).with_suffix("").as_posix(), labels))
    if not rows:
        raise MissingDataError(f"{masks}: expected masks as PNG, found none")
    return LabelTable(names, tuple(rows))


def split_table(table: LabelTable, share: float, seed: int) -> tuple[LabelTable, LabelTable]:
    """Split a table at random into the rest and a share of its rows, both in the old order.

    Args:
        table: the table.
        share: share of the rows in the second table, above 0 and below 1; at least one.
        seed: seed of the choice.

    Raises:
        ValueError: ``share`` is out of range, or the table has a single row.

    Example:
        >>> table = LabelTable(("cat",), tuple(LabelRow(f"{i}.jpg", ()) for i in range(5)))
        >>> [len(part.rows) for part in split_table(table, 0.4, seed=0)]
        [3, 2]
    """
    count = len(table.rows)
    if not 0 < share < 1 or count < 2:
        raise ValueError(
            f"share: expected a number between 0 and 1 and at least two images, got {share} and "
            f"{count}"
        )
    size = min(max(1, round(share * count)), count - 1)
    chosen = set(np.random.default_rng(seed).choice(count, size, replace=False).tolist())
    rest = tuple(row for index, row in enumerate(table.rows) if index not in chosen)
    part = tuple(row for index, row in enumerate(table.rows) if index in chosen)
    return LabelTable(table.class_names, rest), LabelTable(table.class_names, part)


def _table(
    source: Path, found: dict[str, list[str]], class_names: Sequence[str] | None
) -> LabelTable:
    """Make a table of the classes found per image; each class once and in order."""
    used = {name for names in found.values() for name in names}
    kept = check_class_names(source, sorted(used) if class_names is None else class_names)
    rows = (
        LabelRow(image, tuple(name for name in kept if name in set(names)))
        for image, names in found.items()
    )
    return LabelTable(kept, tuple(rows))


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    return folder


def _images(folder: Path) -> Iterable[Path]:
    """Image files in a folder and below, by extension, sorted."""
    known = Image.registered_extensions()
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in known and p.is_file())
