"""Image-level labels of image files that a user names by path or name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
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
        labels: class names or multi-hot ``(C,)`` by path, name of the result, or the end of the
            path, such as ``cat/1.jpg``, the longest first, down to the file name, each with or
            without suffix; the first of these that there is counts, whatever the form of its
            accents, or the case of its letters where only one entry can be meant. None: nothing is
            known.
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
    spelled = _spellings(vectors)
    for file in files:
        key = _entry(_keys(file), vectors, spelled)
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
    # Of a file that is named itself the table may know the folders, which its name has not.
    parts = Path(os.path.abspath(path)).parts[1:]
    tails = [PurePosixPath(*parts[start:]) for start in range(len(parts))]
    ends = [form.as_posix() for tail in tails for form in (tail, tail.with_suffix(""))]
    # The more folders, the less can another file be meant.
    ends = sorted([*ends, with_suffix, file.name], key=lambda end: -end.count("/"))
    return [str(path), path.as_posix(), *ends]


def _spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names behind each way of spelling them: accents composed, and in small letters."""
    found: dict[str, list[str]] = {}
    for name in names:
        composed = unicodedata.normalize("NFC", name)
        for form in dict.fromkeys((composed, composed.casefold())):
            found.setdefault(form, []).append(name)
    return found


def _entry(
    keys: Sequence[str], names: Collection[str], spelled: Mapping[str, list[str]]
) -> str | None:
    """Return the entry that is meant by the first of the keys that there is."""
    exact = next((key for key in keys if key in names), None)
    if exact is not None:
        return exact
    composed = [unicodedata.normalize("NFC", key) for key in keys]
    for form in (*composed, *(key.casefold() for key in composed)):
        if len(meant := spelled.get(form, [])) == 1:
            return meant[0]
    return None


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
