"""The folder that pseudo labels are exported to, laid out as VOC 2012."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from fsr._core.files import clear_unfinished, save_jpeg, whole_file
from fsr.data import Sample, shows_its_pixels, write_label_map
from fsr.errors import DataError
from fsr.inference._made_of import Made
from fsr.inference._records import RECORDS, Records
from fsr.inference._settings import SETTINGS

MASKS, PHOTOGRAPHS, LISTS = "SegmentationClass", "JPEGImages", "ImageSets/Segmentation"
CERTAINTY = "Certainty"


class Done(NamedTuple):
    """What became of a sample.

    Attributes:
        number: its place in the data set.
        name: name of its files, None if it could not be read.
        kept: whether an earlier run had written its mask.
        error: why there is no mask, else None.
    """

    number: int
    name: str | None
    kept: bool
    error: str | None


class ExportFolder:
    """Where masks and images of samples go.

    Args:
        root: the folder.
        images: ``"none"``, ``"link"`` or ``"copy"``.
        with_certainty: whether a map of how far its labels hold belongs to each mask.
    """

    def __init__(self, root: Path, images: str, *, with_certainty: bool = False) -> None:
        self.root = root
        self.images = images
        self.with_certainty = with_certainty
        self.records = Records(root)

    def mask(self, name: str) -> Path:
        """File of a mask."""
        return self.root / MASKS / f"{name}.png"

    def photograph(self, name: str) -> Path:
        """File of an image."""
        return self.root / PHOTOGRAPHS / f"{name}.jpg"

    def files(self, name: str) -> list[Path]:
        """Return all files of a sample."""
        more = [self.photograph(name)] if self.images != "none" else []
        more += [self.certainty(name)] if self.with_certainty else []
        return [*more, self.mask(name)]

    def complete(self, name: str, made: Made) -> bool:
        """Tell whether a sample is done: made of the same, and whole."""
        return self.records.keeps(name, made, self.files(name))

    def clear(self, names: Sequence[str], split: str) -> None:
        """Take away what killed runs left unfinished of the files of samples and lists."""
        own = [self.root / name for name in ("images.csv", "classes.txt", SETTINGS, RECORDS)]
        own.append(self.root / LISTS / f"{split}.txt")
        for name in {*names, *self.records.known}:
            own += [self.mask(name), self.photograph(name), self.certainty(name)]
        clear_unfinished(own)

    def certainty(self, name: str) -> Path:
        """Return the file of a sample's certainty."""
        return self.root / CERTAINTY / f"{name}.png"

    def write_certainty(self, name: str, weights: Tensor) -> None:
        """Write how far each label holds, ``(h, w)`` uint8."""
        with whole_file(self.certainty(name)) as draft:
            Image.fromarray(weights.cpu().numpy()).save(draft, format="PNG")

    def write_mask(self, name: str, labels: Tensor, num_classes: int | None = None) -> None:
        """Write a mask, of a format for some number of classes."""
        write_label_map(self.mask(name), labels, num_classes)

    def place_image(self, name: str, sample: Sample, path: Path | None) -> None:
        """Link, copy or write the image of a sample."""
        if self.images == "none":
            return
        same = path is not None and shows_its_pixels(path)
        with whole_file(self.photograph(name)) as draft:
            if self.images == "link" and path is not None and same:
                draft.unlink(missing_ok=True)
                draft.symlink_to(path.resolve())
            elif path is not None and same and path.suffix.lower() in (".jpg", ".jpeg"):
                shutil.copyfile(path, draft)
            else:
                save_jpeg(sample.image, draft, quality=95)

    def write_lists(self, split: str, every: Sequence[Done], dataset: Any) -> None:
        """Write the names of all masks, and where their images lie if the data set tells.

        Raises:
            DataError: two samples have one name, or the folder holds masks of other samples.
        """
        good = [(one.number, one.name) for one in every if one.error is None and one.name]
        owners: dict[str, int] = {}
        for index, name in good:
            other = owners.setdefault(name, index)
            if other != index:
                raise DataError(
                    f"dataset: samples {other} and {index} have one name, {name!r}; "
                    "the mask is that of one of them"
                )
        self._check_others(every)
        self.records.tidy([one.name for one in every if one.name is not None])
        with whole_file(self.root / LISTS / f"{split}.txt") as draft:
            draft.write_text("".join(f"{name}\n" for _, name in good), encoding="utf-8")
        if image_path(dataset, 0) is None:
            return
        with (
            whole_file(self.root / "images.csv") as draft,
            draft.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("image", "mask"))
            for index, name in good:
                found = image_path(dataset, index)
                writer.writerow((found and found.resolve(), f"{MASKS}/{name}.png"))

    def _check_others(self, every: Sequence[Done]) -> None:
        """Raise if earlier runs left masks of samples that this data set does not have."""
        if any(one.name is None for one in every):  # it may be theirs
            return
        others = sorted(set(Records(self.root).known) - {one.name for one in every})
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            raise DataError(
                f"{self.root}: holds masks of samples that are not in this data set "
                f"({', '.join(others[:3])}{more}), and no list was written; take another folder, "
                f"or take this one's masks and {RECORDS} away"
            )


def flat_name(name: str) -> str:
    """Name of a sample's files in one folder, one word: lists of VOC end a name at a space.

    Raises:
        DataError: nothing is left of it, or it could leave the folder.

    Example:
        >>> flat_name("cats/sofa 1")
        'cats__sofa_1'
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected the name of an image, got {type(name).__name__}")
    parts = PurePosixPath(name.replace(os.sep, "/")).parts
    flat = "_".join("__".join(part for part in parts if part != "/").split())
    if not flat or ".." in parts or "\0" in flat:
        raise DataError(f"name: expected a file name without extension, got {name!r}")
    return flat


def image_path(dataset: Any, index: int) -> Path | None:
    """File of an image, None if the data set does not tell."""
    find = getattr(dataset, "image_path", None)
    return None if find is None else Path(find(index))
