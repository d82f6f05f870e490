"""Image-level labels of image files: by path or name, or from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from fsr._checks import check_choice
from fsr.data.files import DataError, MissingDataError
from fsr.inference.photographs import ImageFile


def labels_of_files(
    files: Sequence[ImageFile],
    labels: Mapping[str, Sequence[str] | Tensor] | None,
    class_names: Sequence[str] | None,
    num_classes: int,
) -> Callable[[int], Tensor | str | None]:
    """Find the labels of image files.

    Args:
        files: the files.
        labels: class names or multi-hot ``(C,)`` by path, name of the result, file name, or file
            name without suffix; the first of these that there is counts. None: nothing is known.
        class_names: names of the C classes.
        num_classes: number C of classes.

    Returns:
        Function of a file's number: its multi-hot labels ``(C,)``, a message if there are none, or
        None where ``labels`` is None.

    Raises:
        TypeError: labels are neither names nor numbers.
        ValueError: a class does not exist, a multi-hot vector has another size, or one entry fits
            several files.

    Example:
        >>> file = ImageFile(Path("photos/1.jpg"), "1")
        >>> labels_of_files([file], {"1.jpg": ["cat"]}, ("dog", "cat"), 2)(0)
        tensor([0., 1.])
    """
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"class_names: expected {num_classes} names, got {len(class_names)}")
    if labels is None:
        return lambda index: None
    vectors = {
        str(key): _multi_hot(str(key), value, class_names, num_classes)
        for key, value in labels.items()
    }
    keys: list[str | None] = []
    owners: dict[str, ImageFile] = {}
    for file in files:
        key = next((key for key in _keys(file) if key in vectors), None)
        keys.append(key)
        if key is None:
            continue
        other = owners.setdefault(key, file)
        if other is not file:
            raise ValueError(
                f"labels[{key!r}]: fits both {other.path} and {file.path}; name them by path"
            )

    def find(index: int) -> Tensor | str:
        key = keys[index]
        if key is None:
            return f"{files[index].path}: no image-level labels under its path or name"
        return vectors[key]

    return find


def _keys(file: ImageFile) -> list[str]:
    """What a user may call a file, the most certain first."""
    name, path = PurePosixPath(file.name), file.path
    with_suffix = file.name if name.name == path.name else file.name + path.suffix
    return [str(path), path.as_posix(), with_suffix, file.name, path.name, path.stem]


def _multi_hot(key: str, value: Any, class_names: Sequence[str] | None, num_classes: int) -> Tensor:
    """Return labels ``(C,)`` of one entry, checked."""
    where = f"labels[{key!r}]"
    if isinstance(value, str):
        raise TypeError(f"{where}: expected a sequence of class names, got the text {value!r}")
    if not isinstance(value, Tensor) and all(isinstance(item, str) for item in value):
        if class_names is None:
            raise ValueError(f"{where}: the model has no class names; give class_names=")
        vector = torch.zeros(num_classes)
        for name in value:
            check_choice(where, name, class_names)
            vector[list(class_names).index(name)] = 1.0
        return vector
    vector = torch.as_tensor(value, dtype=torch.float32)
    if tuple(vector.shape) != (num_classes,):
        raise ValueError(
            f"{where}: expected class names or shape ({num_classes},), got {tuple(vector.shape)}"
        )
    if not bool(torch.isfinite(vector).all()):
        raise ValueError(f"{where}: expected finite labels, got NaN or infinity")
    return vector


def read_labels(path: str | Path, class_names: Sequence[str]) -> dict[str, Tensor]:
    r"""Read image-level labels from a CSV file.

    Either columns ``image`` and ``labels``, the classes of an image separated by semicolons and
    none for background alone, or a column ``image`` and one column of 0 and 1 per class; classes
    without a column are in no image.

    Args:
        path: CSV file in UTF-8, with a header.
        class_names: names of the C classes.

    Returns:
        Multi-hot ``(C,)`` by what stands in the column ``image``.

    Raises:
        MissingDataError: there is no such file.
        DataError: the header or a row cannot be used, an image stands there twice, or a class does
            not exist; the message names the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("image,labels\na.jpg,cat;dog\nb.jpg,\n")
        >>> read_labels(path, ("dog", "cat", "cow"))
        {'a.jpg': tensor([1., 1., 0.]), 'b.jpg': tensor([0., 0., 0.])}
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    listed = header == ["image", "labels"]
    if not listed and (len(header) < 2 or header[0] != "image"):
        raise DataError(
            f"{path}: expected a header 'image,labels', or 'image' and class names, "
            f"got {','.join(header) or 'an empty file'!r}"
        )
    for name in [] if listed else header[1:]:
        _check_class(f"{path}: column", name, class_names)
    found: dict[str, Tensor] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}, line {number}"
        if len(row) != len(header):
            raise DataError(f"{where}: expected {len(header)} columns, got {len(row)}")
        image, *cells = (cell.strip() for cell in row)
        if image in found:
            raise DataError(f"{where}: {image!r} stands there twice")
        if listed:
            names = [name.strip() for name in cells[0].split(";") if name.strip()]
        else:
            wrong = [cell for cell in cells if cell not in ("0", "1")]
            if wrong:
                raise DataError(f"{where}: expected 0 or 1 for each class, got {wrong[0]!r}")
            names = [name for name, cell in zip(header[1:], cells, strict=True) if cell == "1"]
        vector = torch.zeros(len(class_names))
        for name in names:
            _check_class(where, name, class_names)
            vector[list(class_names).index(name)] = 1.0
        found[image] = vector
    return found


def _check_class(where: str, name: str, class_names: Sequence[str]) -> None:
    """Raise unless there is such a class."""
    try:
        check_choice(where, name, class_names)
    except ValueError as error:
        raise DataError(str(error)) from None
