"""Tables of image-level labels from what people have: class folders, boxes, COCO JSON or masks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from fsr.cam import BACKGROUND, IGNORE
from fsr.data._class_names import check_alike, check_class_names
from fsr.data._files import read_label_map
from fsr.data._label_table import LabelRow, LabelTable
from fsr.data._mask_values import mask_hints, read_values
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._split_folders import check_split_folders
from fsr.errors import DataError, MissingDataError


def labels_from_folders(root: str | Path) -> LabelTable:
    """Labels of images that lie in one folder per class; the folders' names are the classes.

    Images beside the class folders and hidden files and folders are left out.

    Args:
        root: folder of the class folders; images may lie in folders inside them.

    Returns:
        One class per image; paths are relative to ``root``.

    Raises:
        MissingDataError: there is no such folder, or no class folder with an image in it.
        DataError: a folder's name cannot name a class, two look alike, or they are those of splits
            or of kinds of files (``train`` and ``val``, ``images`` and ``masks``).

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "cat").mkdir()
        >>> Image.new("RGB", (4, 4)).save(root / "cat" / "one.jpg")
        >>> labels_from_folders(root).rows
        (LabelRow(image='cat/one.jpg', labels=('cat',), line=0),)
    """
    root = _existing(root)
    rows = []
    folders: dict[str, set[str]] = {}
    for path in _files(root, IMAGE_SUFFIXES):
        relative = path.relative_to(root)
        if len(relative.parts) > 1:
            folders.setdefault(relative.parts[0], set()).update(relative.parts[1:-1][:1])
            rows.append(LabelRow(relative.as_posix(), (relative.parts[0],)))
    if not rows:
        raise MissingDataError(
            f"{root}: expected one folder per class with images in it "
            f"({', '.join(IMAGE_SUFFIXES)}), found none"
        )
    check_split_folders(root, folders)
    return LabelTable(check_class_names(root, list(folders)), tuple(rows))


def labels_from_voc(
    annotations: str | Path, class_names: Sequence[str] | None = None
) -> LabelTable:
    """Labels of images with bounding boxes in VOC's XML: the classes of all objects.

    Args:
        annotations: folder of the XML files; an image has the name of its file, without extension.
        class_names: the classes to keep, in order, others are left out; by default all, sorted.

    Returns:
        One row per file.

    Raises:
        MissingDataError: there is no such folder, or no XML file in it.
        DataError: a file cannot be read, an object has no name or one that no class can have, or
            no object has the name of a class to keep.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> text = "<annotation><object><name>dog</name></object></annotation>"
        >>> _ = (folder / "0001.xml").write_text(text)
        >>> labels_from_voc(folder).rows
        (LabelRow(image='0001', labels=('dog',), line=0),)
    """
    annotations = _existing(annotations)
    found: dict[str, list[str]] = {}
    for path in _files(annotations, ".xml"):
        try:
            objects = ElementTree.parse(path).getroot().findall("object")
        # An unknown encoding is a LookupError.
        except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
            raise DataError(f"{path}: cannot be read as XML ({error})") from error
        names = [(item.findtext("name") or "").strip() for item in objects]
        if "" in names:
            raise DataError(f"{path}: expected a name in every object, got none")
        found[path.relative_to(annotations).with_suffix("").as_posix()] = names
    if not found:
        raise MissingDataError(f"{annotations}: expected XML files, found none")
    return _table(annotations, found, class_names)


def labels_from_coco(
    annotations: str | Path, class_names: Sequence[str] | None = None
) -> LabelTable:
    """Labels of images with annotations in COCO's JSON: the categories of all of them.

    Args:
        annotations: the JSON file; only ``images``, ``annotations`` and ``categories`` are read.
        class_names: the categories to keep, in order, others are left out; by default all, in the
            order of their ids.

    Returns:
        One row per image, those without annotations included.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such JSON, two images have one file name, an annotation names an image
            or category that is not there, or none has a category to keep.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "instances.json"
        >>> _ = path.write_text(json.dumps({
        ...     "images": [{"id": 7, "file_name": "a.jpg"}],
        ...     "categories": [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}],
        ...     "annotations": [{"image_id": 7, "category_id": 3}]}))
        >>> labels_from_coco(path)
        LabelTable(class_names=('dog', 'cat'), rows=(LabelRow(image='a.jpg', labels=('dog',), ...
    """
    annotations = Path(annotations).expanduser()
    try:
        content: Any = json.loads(annotations.read_text(encoding="utf-8"))
        categories = sorted((int(c["id"]), str(c["name"]).strip()) for c in content["categories"])
        images = sorted((int(image["id"]), str(image["file_name"])) for image in content["images"])
        pairs = [(int(a["image_id"]), int(a["category_id"])) for a in content["annotations"]]
    except FileNotFoundError as error:
        raise MissingDataError(f"{annotations}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{annotations}: expected COCO's JSON with images, annotations and categories "
            f"({type(error).__name__}: {error})"
        ) from error
    files, names = dict(images), dict(categories)
    found: dict[str, list[str]] = {file: [] for file in files.values()}
    if len(found) < len(images):
        raise DataError(f"{annotations}: two images have one id or one file_name")
    for image, category in pairs:
        if image not in files or category not in names:
            what = f"image {image}" if image not in files else f"category {category}"
            raise DataError(f"{annotations}: an annotation belongs to {what}, which is not there")
        found[files[image]].append(names[category])
    every = [name for _, name in categories]
    return _table(annotations, found, every if class_names is None else class_names)


def labels_from_masks(
    masks: str | Path, class_names: Sequence[str], *, allow_contradictions: bool = False
) -> LabelTable:
    """Labels of images with masks: the classes that a mask holds.

    Args:
        masks: folder of PNGs: 0 = background, c + 1 = class c, 255 = ignore.
        class_names: names of the classes, in order.
        allow_contradictions: take masks whose palette has a colour at 0 and black at a class.

    Returns:
        One row per mask, with the mask's name; notes tell of masks that hold 0 and 255 alone.

    Raises:
        MissingDataError: there is no such folder, or no PNG in it.
        DataError: a mask cannot be read or holds other labels, none holds a class, or palettes do
            not fit.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("L", (4, 4), 2).save(folder / "0001.png")
        >>> labels_from_masks(folder, ("cat", "dog")).rows
        (LabelRow(image='0001', labels=('dog',), line=0),)
    """
    masks = _existing(masks)
    names = check_class_names("class_names", class_names)
    found = read_values(_files(masks, ".png"))
    rows = []
    for path, present, _ in found:
        if present is None or not present <= {*range(len(names) + 1), IGNORE}:
            # The reader of masks says what is wrong.
            present = frozenset(np.unique(read_label_map(path, len(names)).numpy()).tolist())
        labels = tuple(names[c - 1] for c in sorted(present - {BACKGROUND, IGNORE}))
        rows.append(LabelRow(path.relative_to(masks).with_suffix("").as_posix(), labels))
    if not rows:
        raise MissingDataError(f"{masks}: expected masks as PNG, found none")
    if not any(row.labels for row in rows):
        raise DataError(
            f"{masks}: no mask holds a class: expected labels 1 to {len(names)}, got {BACKGROUND} "
            f"(background) and {IGNORE} (ignore) alone; write class c as c, not as {IGNORE}"
        )
    odd = [values for values in found if values.odd is not None]
    hollow = [values.path for values in found if values.hollow]
    if odd and not allow_contradictions:
        raise DataError(
            f"{masks}: {next(mask_hints(odd, ()))}; --allow-contradictions uses them all the same"
        )
    return LabelTable(names, tuple(rows), tuple(f"{masks}: {h}" for h in mask_hints(odd, hollow)))


def _table(
    source: Path, found: dict[str, list[str]], class_names: Sequence[str] | None
) -> LabelTable:
    """Make a table of the classes found per image; each class once and in order."""
    used = {name for names in found.values() for name in names}
    if not used:
        raise DataError(f"{source}: expected objects in some of {len(found)} images, found none")
    check_alike(source, [*sorted(used), *(class_names or ())])
    kept = check_class_names(source, sorted(used) if class_names is None else class_names)
    if not used.intersection(kept):
        raise DataError(
            f"{source}: no object is of a class to keep ({', '.join(kept)}); there are "
            f"{', '.join(sorted(used))}"
        )
    rows = (
        LabelRow(image, tuple(name for name in kept if name in names))
        for image, names in found.items()
    )
    return LabelTable(kept, tuple(rows))


def _existing(folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        what = "a file" if path.exists() else "no such folder"
        raise MissingDataError(f"{path}: expected a folder, this is {what}")
    return path


def _files(folder: Path, suffixes: str | tuple[str, ...]) -> Iterator[Path]:
    """Yield the files in a folder and below that end in this way, in order, hidden ones not."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(parent) / name
