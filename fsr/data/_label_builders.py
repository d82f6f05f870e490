"""Tables of image-level labels from what people have: folders of a class each, or masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsr.cam import BACKGROUND, ignore_label
from fsr.data._class_names import check_class_names
from fsr.data._files import read_label_map
from fsr.data._folders import existing_folder, files_below
from fsr.data._label_table import LabelRow, LabelTable
from fsr.data._mask_values import mask_hints, read_values
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._split_folders import check_split_folders
from fsr.data._voc_classes import check_class_list
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
    root = existing_folder(root)
    rows = []
    folders: dict[str, set[str]] = {}
    for path in files_below(root, IMAGE_SUFFIXES):
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


def labels_from_masks(
    masks: str | Path,
    class_names: Sequence[str],
    *,
    allow_contradictions: bool = False,
    max_pixels: int | None = None,
) -> LabelTable:
    """Labels of images with masks: the classes that a mask holds.

    Args:
        masks: folder of PNGs: 0 = background, c + 1 = class c, 255 = ignore.
        class_names: names of the classes, in order.
        allow_contradictions: take masks whose palette has a colour at 0 and black at a class.
        max_pixels: pixels that a mask may have, see :class:`fsr.data.Reading`.

    Returns:
        One row per mask, with the mask's name; notes tell of masks that hold 0 and 255 alone.

    Raises:
        MissingDataError: there is no such folder, or no PNG in it.
        DataError: a mask cannot be read or holds other labels, none holds a class, palettes do not
            fit, or a ``classes.txt`` with the masks lists other classes, background first.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("L", (4, 4), 2).save(folder / "0001.png")
        >>> labels_from_masks(folder, ("cat", "dog")).rows
        (LabelRow(image='0001', labels=('dog',), line=0),)
    """
    masks = existing_folder(masks)
    names = check_class_names("class_names", class_names)
    check_class_list(masks, names)
    found = read_values(files_below(masks, ".png"), max_pixels=max_pixels)
    ignored = ignore_label(len(names))
    rows = []
    for path, present, _ in found:
        if present is None or not present <= {*range(len(names) + 1), ignored}:
            # The reader of masks says what is wrong.
            mask = read_label_map(path, len(names), max_pixels=max_pixels)
            present = frozenset(np.unique(mask.numpy()).tolist())
        labels = tuple(names[c - 1] for c in sorted(present - {BACKGROUND, ignored}))
        rows.append(LabelRow(path.relative_to(masks).with_suffix("").as_posix(), labels))
    if not rows:
        raise MissingDataError(f"{masks}: expected masks as PNG, found none")
    if not any(row.labels for row in rows):
        raise DataError(
            f"{masks}: no mask holds a class: expected labels 1 to {len(names)}, got {BACKGROUND} "
            f"(background) and {ignored} (ignore) alone; write class c as c, not as {ignored}"
        )
    odd = [values for values in found if values.odd is not None]
    hollow = [values.path for values in found if values.hollow]
    if odd and not allow_contradictions:
        raise DataError(
            f"{masks}: {next(mask_hints(odd, ()))}; --allow-contradictions uses them all the same"
        )
    return LabelTable(names, tuple(rows), tuple(f"{masks}: {h}" for h in mask_hints(odd, hollow)))
