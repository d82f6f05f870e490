"""Image-level labels of image files that a user names by path or name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from fsr._core.checks import check_choice
from fsr.inference._photographs import ImageFile


def labels_of_files(
    files: Sequence[ImageFile],
    labels: Mapping[str, Sequence[str] | Tensor] | None,
    class_names: Sequence[str] | None,
    num_classes: int,
) -> list[Tensor | str] | None:
    """Find the labels of image files.

    Args:
        files: the files.
        labels: class names or multi-hot ``(C,)`` by path, name of the result, file name, or file
            name without suffix; the first of these that there is counts. None: nothing is known.
        class_names: names of the C classes.
        num_classes: number C of classes.

    Returns:
        For each file its multi-hot labels ``(C,)``, or a message if there are none; None where
        ``labels`` is None.

    Raises:
        TypeError: labels are neither names nor numbers.
        ValueError: a class does not exist, a multi-hot vector has another size, or one entry fits
            several files.

    Example:
        >>> from pathlib import Path
        >>> file = ImageFile(Path("photos/1.jpg"), "1")
        >>> labels_of_files([file], {"1.jpg": ["cat"]}, ("dog", "cat"), 2)
        [tensor([0., 1.])]
    """
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"class_names: expected {num_classes} names, got {len(class_names)}")
    if labels is None:
        return None
    vectors = {
        str(key): _multi_hot(str(key), value, class_names, num_classes)
        for key, value in labels.items()
    }
    found: list[Tensor | str] = []
    owners: dict[str, ImageFile] = {}
    for file in files:
        key = next((key for key in _keys(file) if key in vectors), None)
        if key is None:
            found.append("no image-level labels under its path or name")
            continue
        other = owners.setdefault(key, file)
        if other is not file:
            raise ValueError(
                f"labels[{key!r}]: fits both {other.path} and {file.path}; name them by path"
            )
        found.append(vectors[key])
    return found


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
