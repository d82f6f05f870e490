"""What is written: the path of an image and its label map, checked one by one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_shape
from fsr.cam import ignore_label
from fsr.errors import DataError


class LabelledImage(NamedTuple):
    """An image and its mask.

    Attributes:
        file: path of the image inside the folder of images, with ``/`` between folders.
        labels: label map ``(height, width)`` of integers: 0 = background, c + 1 = class c, 255 =
            ignored, which no file of annotations can hold and which is left out.

    Example:
        >>> import torch
        >>> image = LabelledImage("cats/1.jpg", torch.tensor([[0, 1, 255]]))
        >>> image.file, tuple(image.labels.shape)
        ('cats/1.jpg', (1, 3))
    """

    file: str
    labels: Tensor


class ClassMask(NamedTuple):
    """The pixels of one class.

    Attributes:
        number: of the class, from 0.
        name: its name.
        pixels: ``(height, width)`` boolean, at least one of them True.
    """

    number: int
    name: str
    pixels: NDArray[np.bool_]


def check_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names; raise unless they are different texts that a file can hold."""
    check_sequence("class_names", class_names, "names")
    names = tuple(class_names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"class_names: expected names, got {name!r}")
        _check_text("class_names", name)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"class_names: expected each class once, at least one, got {names}")
    return names


def checked(images: Iterable[LabelledImage], num_classes: int) -> Iterator[LabelledImage]:
    """Yield the images with label maps on the CPU; raise for what no file could hold.

    Raises:
        ShapeError: a label map has another shape.
        TypeError: labels are no integers.
        ValueError: a label is out of range, or a path leaves the folder or is no text.
        DataError: an image comes twice.
    """
    seen: set[str] = set()
    for image in images:
        file, labels = image
        _check_file(file)
        if file in seen:
            raise DataError(f"images: {file!r} comes twice")
        seen.add(file)
        check_shape("labels", labels, "height width")
        if labels.is_floating_point() or labels.dtype.itemsize == 0:
            raise TypeError(f"labels: expected integers, got {labels.dtype}")
        labels = labels.cpu()
        ignored = ignore_label(num_classes)
        wrong = labels[(labels < 0) | ((labels > num_classes) & (labels != ignored))]
        if len(wrong):
            raise ValueError(
                f"labels: expected 0..{num_classes} or {ignored} in {file!r}, got {int(wrong[0])}"
            )
        yield LabelledImage(file, labels)


def class_masks(labels: Tensor, names: Sequence[str]) -> Iterator[ClassMask]:
    """Yield the classes that a label map holds, in order.

    Args:
        labels: label map ``(height, width)``.
        names: names of the classes.
    """
    values = labels.numpy()
    for label in np.unique(values).tolist():
        if 0 < label <= len(names):
            yield ClassMask(label - 1, names[label - 1], values == label)


def _check_file(file: str) -> None:
    """Raise unless a path stays inside the folder of images and can be written."""
    if not isinstance(file, str):
        raise TypeError(f"file: expected the path of an image as text, got {file!r}")
    _check_text("file", file)
    path = PurePosixPath(file)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"file: expected a path inside the folder of images, got {file!r}")


def _check_text(name: str, text: str) -> None:
    """Raise for text that XML or a line of text cannot hold."""
    # Controls and halves of characters: XML has no way to write them.
    odd = any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)
    if odd or not text or text != text.strip():
        raise ValueError(
            f"{name}: expected text without line breaks and other controls, and without spaces "
            f"around it, got {text!a}"
        )
