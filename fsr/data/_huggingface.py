"""A table of Hugging Face ``datasets`` as a data set: its images, its labels, its masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr.cam import IGNORE
from fsr.data._class_names import check_class_names
from fsr.data._colours import to_rgb
from fsr.data._packed_texts import PackedTexts
from fsr.data._sample import Sample
from fsr.errors import DataError

_WHITE = (255, 255, 255)


class HuggingFaceDataset:
    """A ``datasets.Dataset`` with a column of images and one of labels; indexes to ``Sample``.

    The labels of a row are a number or a name, or a list of these; images come as the table decodes
    them. Nothing is downloaded, and the package ``datasets`` itself is not needed.

    Args:
        table: a ``datasets.Dataset``, or anything that has its ``features`` and ``column_names``,
            a length, and rows by index that are mappings.
        image: column of the images.
        labels: column of the labels; numbers from 0.
        masks: column of the masks, if any: one channel, 0 = background, c + 1 = class c, 255 =
            ignore.
        class_names: C names; by default those of the column, a ``ClassLabel`` or a list of them.

    Attributes:
        class_names: C names, background not among them.
        names: names of the rows, their numbers.

    Raises:
        TypeError: ``table`` is no such table.
        ValueError: there is no such column.
        DataError: the column has no names and none are given, or they cannot name classes.

    Example:
        >>> class Table(list):
        ...     features, column_names = {"image": None, "labels": None}, ["image", "labels"]
        >>> table = Table([{"image": Image.new("L", (4, 3)), "labels": [1]}])
        >>> sample = HuggingFaceDataset(table, class_names=("cat", "dog"))[0]
        >>> sample.image.mode, sample.labels.tolist(), sample.name
        ('RGB', [0.0, 1.0], '0')
    """

    def __init__(
        self,
        table: Any,
        *,
        image: str = "image",
        labels: str = "labels",
        masks: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        columns = getattr(table, "column_names", None)
        # A stream has columns, but no length and no row that could be drawn by its number.
        told = hasattr(table, "features") and hasattr(table, "__len__")
        if not isinstance(columns, list) or not told:
            raise TypeError(
                "table: expected a datasets.Dataset, one split of a data set, got "
                f"{type(table).__name__}"
            )
        for argument, column in (("image", image), ("labels", labels), ("masks", masks)):
            if column not in (*columns, *((None,) if argument == "masks" else ())):
                raise ValueError(
                    f"{argument}: expected a column of the table ({', '.join(columns)}), "
                    f"got {column!r}"
                )
        self.table, self._image, self._labels, self._masks = table, image, labels, masks
        names = _names_of(table.features, labels) if class_names is None else class_names
        if names is None:
            raise DataError(
                f"labels: the column {labels!r} has no names of classes; give class_names="
            )
        self.class_names = check_class_names("class_names", names)
        digits = len(str(max(len(table) - 1, 0)))
        self.names = PackedTexts(f"{row:0{digits}}" for row in range(len(table)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            IndexError: there is no such row.
            DataError: its image, labels or mask cannot be used.
        """
        name = self.names[index]
        row = self.table[range(len(self))[index]]
        where = f"row {name}"
        image = _picture(f"{where}: column {self._image!r}", row[self._image])
        # The path is for messages alone.
        rgb = to_rgb(image, Path(where), _WHITE, None)
        target = None if self._masks is None else self._target(where, row[self._masks], rgb)
        return Sample(rgb, self._multi_hot(where, row[self._labels]), target, name)

    def _multi_hot(self, where: str, value: Any) -> Tensor:
        """Return labels as ``(C,)``."""
        count = len(self.class_names)
        labels = torch.zeros(count)
        for each in value if isinstance(value, list | tuple) else [value]:
            known = each in self.class_names if isinstance(each, str) else False
            index = self.class_names.index(each) if known else each
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
                raise DataError(
                    f"{where}: column {self._labels!r}: expected classes from 0 to {count - 1} or "
                    f"their names, got {each!r}"
                )
            labels[index] = 1.0
        return labels

    def _target(self, where: str, mask: Any, image: Image.Image) -> Tensor:
        """Return the label map of a mask."""
        where = f"{where}: column {self._masks!r}"
        picture = _picture(where, mask)
        count = len(self.class_names)
        if len(picture.getbands()) != 1 or picture.size != image.size:
            raise DataError(
                f"{where}: expected a mask of one channel and of its image's size {image.size}, "
                f"got mode {picture.mode}, {picture.size}"
            )
        target = np.asarray(picture).astype(np.int64)
        wrong = sorted(set(np.unique(target).tolist()) - {*range(count + 1), IGNORE})
        if wrong:
            raise DataError(f"{where}: expected labels in 0..{count} or {IGNORE}, got {wrong[0]}")
        return torch.from_numpy(target)

    def __repr__(self) -> str:
        made = getattr(self.table, "_fingerprint", f"{len(self)} rows")
        masks = "" if self._masks is None else f", masks={self._masks!r}"
        return (
            f"HuggingFaceDataset({made}, image={self._image!r}, labels={self._labels!r}{masks}, "
            f"class_names={self.class_names})"
        )


def _names_of(features: Any, column: str) -> Sequence[str] | None:
    """Return the names of a column of class labels, or of lists of them; None if it has none."""
    feature = features[column]
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    names: Sequence[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def _picture(where: str, value: Any) -> Image.Image:
    if not isinstance(value, Image.Image):
        raise DataError(
            f"{where}: expected a picture, got {type(value).__name__}; "
            "table.cast_column(name, datasets.Image()) decodes files and bytes"
        )
    return value
