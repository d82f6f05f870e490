"""Tables of image-level labels from a folder of YOLO's texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from fsr._core.text import read_text
from fsr.data._folders import existing_folder, files_below
from fsr.data._found_classes import found_table
from fsr.data._label_table import LabelTable
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.errors import DataError, MissingDataError

DATA = "data.yaml"
_LABELS, _IMAGES = "labels", "images"
_FEWEST = 5  # a class, and a box of four numbers


def labels_from_yolo(root: str | Path, class_names: Sequence[str] | None = None) -> LabelTable:
    """Labels of images with YOLO's texts, of boxes or of polygons: the classes of all lines.

    The paths of images are relative to ``root``: that of ``labels/a.txt`` is ``images/a``, with its
    ending where the image is there, and so in folders inside, as ``train/labels/a.txt``. Images
    without a text have no class.

    Args:
        root: folder with ``data.yaml``, whose ``names`` are the classes.
        class_names: the classes to keep, in order, others are left out; by default all, in the
            order of their numbers.

    Returns:
        One row per image.

    Raises:
        MissingDataError: there is no such folder, no ``data.yaml`` in it, or no text.
        DataError: a file cannot be read or holds something else, or no line has a class to keep.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "labels").mkdir()
        >>> _ = (root / "data.yaml").write_text("names: [cat, dog]")
        >>> _ = (root / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.2")
        >>> labels_from_yolo(root)
        LabelTable(class_names=('cat', 'dog'), rows=(LabelRow(image='images/a', ...
    """
    root = existing_folder(root)
    path = root / DATA
    names = _names(path, _read_yaml(path))
    images = {
        file.relative_to(root).with_suffix("").as_posix(): file.relative_to(root).as_posix()
        for file in files_below(root, IMAGE_SUFFIXES)
        if _IMAGES in file.relative_to(root).parts[:-1]
    }
    found: dict[str, list[str]] = {image: [] for image in images.values()}
    texts = 0
    for file in files_below(root, ".txt"):
        parts = list(file.relative_to(root).with_suffix("").parts)
        if _LABELS in parts[:-1]:
            texts += 1
            parts[len(parts) - 2 - parts[-2::-1].index(_LABELS)] = _IMAGES
            image = PurePosixPath(*parts).as_posix()
            found[images.get(image, image)] = [names[n] for n in _numbers(file, len(names))]
    if not texts:
        raise MissingDataError(f"{root}: expected texts in a folder {_LABELS!r}, found none")
    return found_table(path, found, names if class_names is None else class_names)


def _read_yaml(path: Path) -> Any:
    """Read YAML of plain text, lists and mappings, in which nothing stands for something else."""
    text = read_text(path)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise DataError(f"{path}: holds an alias (*name), which no list of classes needs")
        # All scalars are text: a class may be called 1 or no.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        told = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as YAML ({told})") from error


def _names(path: Path, content: Any) -> list[str]:
    """Return the names of the classes in the order of their numbers."""
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        if set(names) != set(numbers):
            raise DataError(f"{path}: expected classes numbered 0 to {len(names) - 1} in 'names'")
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise DataError(f"{path}: expected the names of the classes in 'names'")
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise DataError(f"{path}: expected each class once in 'names', got {twice!r} twice")
    return names


def _numbers(file: Path, count: int) -> list[int]:
    """Return the classes of all lines of a text."""
    found = []
    for line, text in enumerate(read_text(file).splitlines(), start=1):
        cells = text.split()
        if not cells:
            continue
        plain = cells[0].isascii() and cells[0].isdigit() and len(cells[0]) < 10
        number = int(cells[0]) if plain else -1
        if not 0 <= number < count:
            raise DataError(
                f"{file}: line {line}: expected a class of {DATA}, 0 to {count - 1}, "
                f"got {cells[0][:60]!r}"
            )
        if len(cells) < _FEWEST or not all(map(_is_number, cells[1:])):
            raise DataError(
                f"{file}: line {line}: expected a class and at least 4 numbers, a box or a polygon"
            )
        found.append(number)
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
