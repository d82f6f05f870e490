"""Masks in VOC's layout: class indices, or the colours that a list of classes tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr.cam import IGNORE, ignore_label
from fsr.data._files import read_label_map
from fsr.data._reading import Reading
from fsr.data._voc_classes import Colour, VocClasses
from fsr.errors import DataError

# Folders of masks: VOC's, those of its augmented set, and that of labelme's converter.
OFFICIAL, AUGMENTED, CONVERTED = "SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG"
# What VOC paints borders with.
_BORDER = (224, 224, 192)
_SHOWN = 5


def mask_folder(root: Path, split: str) -> Path | None:
    """Return the folder of a split's masks, None if there is none.

    Args:
        root: the folder that holds ``JPEGImages``.
        split: name of the list.
    """
    first = (AUGMENTED, OFFICIAL) if split == "train_aug" else (OFFICIAL, AUGMENTED)
    found = [root / name for name in first if (root / name).is_dir()]
    converted = root / CONVERTED
    # The converter keeps arrays in SegmentationClass.
    if converted.is_dir() and not any(next(folder.glob("*.png"), None) for folder in found):
        return converted
    return found[0] if found else None


def read_voc_mask(
    path: Path,
    classes: VocClasses,
    size: tuple[int, int] | None = None,
    *,
    max_pixels: int | None = None,
) -> Tensor:
    """Read a mask of class indices, or of the colours that the classes have.

    Where the list of classes tells colours, a mask whose colours are all among them is read by
    its colours, as CVAT writes them; else by its indices.

    Args:
        path: mask file.
        classes: what its labels stand for.
        size: width and height that the mask must have, those of its image.
        max_pixels: pixels that a mask may have, see :class:`fsr.data.Reading`.

    Returns:
        ``(height, width)`` int64, 0 = background, c + 1 = class c, 255 = ignore.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, is damaged, has another size, or holds other labels or
            colours.
    """
    if not classes.colours:
        _check_indexed(path, classes)
        return read_label_map(path, len(classes.names), size, max_pixels=max_pixels)
    painted = Reading(orient=False, max_pixels=max_pixels).image(path)
    if size is not None and painted.size != size:
        raise DataError(
            f"{path}: expected the size of its image, {size[0]} x {size[1]} pixels, "
            f"got {painted.size[0]} x {painted.size[1]}"
        )
    ignored = ignore_label(len(classes.names))
    labels, unknown = labels_of_colours(
        np.asarray(painted), {**dict.fromkeys([_BORDER], ignored), **classes.colours}
    )
    if not unknown:
        return torch.from_numpy(labels)
    try:
        _check_indexed(path, classes)
        return read_label_map(path, len(classes.names), size, max_pixels=max_pixels)
    except DataError as error:
        listed = ", ".join(map(str, unknown[:_SHOWN])) + (", ..." if unknown[_SHOWN:] else "")
        raise DataError(f"{error}; of its colours {classes.source} lacks {listed}") from error


def labels_of_colours(
    pixels: NDArray[np.uint8], colours: dict[Colour, int]
) -> tuple[NDArray[np.int64], list[Colour]]:
    """Return the label of each pixel by its colour, and the colours that have none.

    Args:
        pixels: ``(height, width, 3)``.
        colours: label of each colour.

    Returns:
        ``(height, width)``, 255 where a colour has none; those colours.

    Example:
        >>> pixels = np.array([[[0, 0, 0], [128, 0, 0], [1, 2, 3]]], dtype=np.uint8)
        >>> labels, unknown = labels_of_colours(pixels, {(0, 0, 0): 0, (128, 0, 0): 1})
        >>> labels.tolist(), unknown
        ([[0, 1, 255]], [(1, 2, 3)])
    """
    codes = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    used, place = np.unique(codes, return_inverse=True)
    spelled = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in used]
    labels = np.array([colours.get(colour, IGNORE) for colour in spelled], dtype=np.int64)
    unknown = [colour for colour in spelled if colour not in colours]
    return labels[place].reshape(codes.shape), unknown


def _check_indexed(path: Path, classes: VocClasses) -> None:
    """Raise if labels are not the order of the list that names the classes."""
    if not classes.indexed:
        raise DataError(
            f"{path}: expected a mask of colours, as {classes.source} does not list background "
            "first: the order of its lines is not that of labels"
        )
