"""Tables of image-level labels from Label Studio's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fsr._core.text import read_json
from fsr.data._found_classes import found_table
from fsr.data._label_table import LabelTable
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._relative import check_inside, turned
from fsr.errors import DataError

# Keys of a result's value that name classes: those of shapes, and those of whole images.
_SHAPES, _CHOICES = "labels", "choices"
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")


def labels_from_labelstudio(
    tasks: str | Path, class_names: Sequence[str] | None = None
) -> LabelTable:
    """Labels of images with annotations in Label Studio's JSON: of all shapes and choices.

    The path of an image is what follows ``?d=`` in the address of a local file, and the last part
    of any other address; what Label Studio puts before the name of an uploaded file is taken off.
    Predictions do not count, nor do annotations that were cancelled.

    Args:
        tasks: the file of an export as *JSON*.
        class_names: the labels to keep, in order, others are left out; by default all, sorted.

    Returns:
        One row per image that was annotated; a note tells how many were not.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such JSON, a task has no image, two have one, an image leaves the folder
            of images, its annotators differ, or no annotation has a label to keep.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "project.json"
        >>> value = {"choices": ["cat"]}
        >>> task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"},
        ...         "annotations": [{"result": [{"type": "choices", "value": value}]}]}
        >>> _ = path.write_text(json.dumps([task]))
        >>> labels_from_labelstudio(path).rows
        (LabelRow(image='a.jpg', labels=('cat',), line=0),)
    """
    path = Path(tasks).expanduser()
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: expected a list of tasks, as Label Studio exports in 'JSON'")
    found: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    waiting = 0
    for index, task in enumerate(content):
        where = f"{path}: {_place(task, index)}"
        image, annotations = _image(where, task), _annotations(where, task)
        if image in first:
            raise DataError(f"{where}: its image {image!r} is that of {first[image]}")
        first[image] = _place(task, index)
        if annotations:
            found[image] = _agreed(where, annotations)
        waiting += not annotations
    if not found:
        raise DataError(f"{path}: expected annotations, got {waiting} tasks without any")
    table = found_table(path, found, class_names)
    if not waiting:
        return table
    left = f"{path}: left out {waiting} of {len(content)} images, which nobody annotated"
    return table._replace(notes=(left,))


def _place(task: Any, index: int) -> str:
    """Say which task is meant: by its number, or where it stands."""
    number = task.get("id") if isinstance(task, dict) else None
    return f"task {number}" if isinstance(number, int) else f"task [{index}]"


def _image(where: str, task: Any) -> str:
    """Return the path of a task's image."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise DataError(f"{where}: expected 'data' with an image; export the project as 'JSON'")
    address = data.get("image")
    if address is None:
        texts = [value for value in data.values() if isinstance(value, str)]
        images = [text for text in texts if _path_of(text).lower().endswith(IMAGE_SUFFIXES)]
        address = images[0] if len(images) == 1 else None
    if not isinstance(address, str):
        raise DataError(f"{where}: expected the address of one image in 'data', as 'image'")
    return turned(check_inside(f"{where}: 'image'", _path_of(address)))


def _path_of(address: str) -> str:
    """Return the path of an image inside its folder, from its address; nothing if it is none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d")
    if local and parts.path.rstrip("/").endswith("local-files"):
        return local[0]
    last = PurePosixPath(unquote(parts.path)).name
    return _UPLOADED.sub("", last, count=1) if "/upload/" in parts.path else last


def _annotations(where: str, task: Any) -> list[dict[str, Any]]:
    """Return the annotations of a task that count: the ground truth where one is told."""
    given = task.get("annotations", [])
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise DataError(f"{where}: expected a list in 'annotations'; export the project as 'JSON'")
    valid = [each for each in given if not each.get("was_cancelled")]
    return [each for each in valid if each.get("ground_truth")] or valid


def _agreed(where: str, annotations: Sequence[dict[str, Any]]) -> list[str]:
    """Return the classes of an image; raise if its annotators name different ones."""
    several = [sorted(set(_classes(where, each))) for each in annotations]
    differing = [names for names in several if names != several[0]]
    if differing:
        raise DataError(
            f"{where}: its annotators differ: {', '.join(several[0]) or 'none'} and "
            f"{', '.join(differing[0]) or 'none'}; mark one as ground truth in Label Studio"
        )
    return several[0]


def _classes(where: str, annotation: dict[str, Any]) -> Iterator[str]:
    """Yield the names in an annotation, as often as they come."""
    results = annotation.get("result")
    if not isinstance(results, list):
        raise DataError(f"{where}: expected a list in 'result' of every annotation")
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        for key, names in value.items() if isinstance(value, dict) else ():
            if not (key.endswith(_SHAPES) or key == _CHOICES):
                continue
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DataError(f"{where}: expected a list of names in {key!r}")
            yield from (name.strip() for name in names)
