"""One's own images: a folder, a table of image-level labels, masks where there are any."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from fsr.data._files import read_label_map
from fsr.data._label_table import LabelRow, read_labels
from fsr.data._photographs import IMAGE_SUFFIXES, image_size, read_photograph
from fsr.data._sample import Sample
from fsr.errors import DataError, MissingDataError


class FolderDataset:
    r"""A folder of images of any format with a CSV of labels; indexes to :class:`Sample`.

    The table has a column ``image``, a path relative to ``images`` with or without its extension,
    and either a column ``labels`` with names separated by semicolons (``cat;dog``, empty for an
    image without a class) or one column of 0 and 1 per class. See
    :mod:`fsr.data._label_builders` for ways to make one.

    Images that the table does not list are left out and counted. Names are the paths of the images
    without extension, folders included (``cats/0001``), so that they stay unique.

    Args:
        images: folder that the table's paths are relative to; images may be of any format that
            Pillow reads, in folders inside it too.
        labels_csv: the table, UTF-8.
        masks: folder with a mask for every image of the table, the same path with the extension
            ``.png``: palette or greyscale, 0 = background, c + 1 = class c, 255 = ignore. None
            without.
        class_names: names of the C classes in order, to use one table's order for another. By
            default the columns in their order, or the names in the column ``labels``, sorted.
        orient: turn photographs upright as their EXIF data say, as viewers and most drawing tools
            do; False if the masks fit the pixels as they are stored.

    Attributes:
        class_names: names of the C classes, background not among them.
        names: names of the images, in the order of the table.
        unlisted: number of image files in the folder that the table does not list.

    Raises:
        MissingDataError: a folder, the table, an image in it or a mask is not there.
        DataError: the table cannot be used; the message has the line.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 6)).save(folder / "my photo.jpg")
        >>> _ = (folder / "labels.csv").write_text("image,labels\nmy photo.jpg,cat;dog\n")
        >>> dataset = FolderDataset(folder, folder / "labels.csv")
        >>> dataset.class_names, dataset[0].labels.tolist(), dataset[0].name
        (('cat', 'dog'), [1.0, 1.0], 'my photo')
    """

    def __init__(
        self,
        images: str | Path,
        labels_csv: str | Path,
        masks: str | Path | None = None,
        *,
        class_names: Sequence[str] | None = None,
        orient: bool = True,
    ) -> None:
        self.images = _folder("images", images)
        self.masks = None if masks is None else _folder("masks", masks)
        self.labels_csv = Path(labels_csv).expanduser()
        table = read_labels(self.labels_csv, class_names=class_names)
        self.class_names = table.class_names
        self.orient = orient
        self._index = {name: number for number, name in enumerate(table.class_names)}
        self._rows = table.rows
        present = _list_files(self.images)
        self._paths = _find_images(self.images, self.labels_csv, table.rows, present)
        self.names = tuple(_stem(path) for path in self._paths)
        _check_unique(self.names, self._paths, table.rows, self.labels_csv)
        self.unlisted = len(set(filter(_is_image, present)) - set(self._paths))
        if self.masks is not None:
            _check_masks(self.masks, self.names)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            IndexError: there is no such sample.
            MissingDataError: its image or mask is not there.
            DataError: its image or mask cannot be used.
        """
        name = self.names[index]
        path = self.image_path(index)
        image = read_photograph(path, orient=self.orient)
        target = None
        if self.masks is not None:
            mask = self.masks / f"{name}.png"
            try:
                target = read_label_map(mask, len(self.class_names), image.size)
            except DataError as error:
                if image_size(path) == image_size(path, orient=False):
                    raise
                raise DataError(
                    f"{error}; {path} is stored lying on its side: orient=True turns it upright, "
                    f"orient=False does not, this was orient={self.orient}"
                ) from error
        return Sample(image, self.load_labels(index), target, name)

    def image_path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.images / self._paths[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return all files that one sample is read from."""
        masks = () if self.masks is None else (self.masks / f"{self.names[index]}.png",)
        return (self.image_path(index), self.labels_csv, *masks)

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(C,)``, without reading its image."""
        labels = torch.zeros(len(self.class_names))
        labels[[self._index[name] for name in self._rows[index].labels]] = 1.0
        return labels

    def __repr__(self) -> str:
        masks = "" if self.masks is None else f"masks={str(self.masks)!r}, "
        stored = "" if self.orient else ", orient=False"
        return (
            f"FolderDataset({str(self.images)!r}, {str(self.labels_csv)!r}, {masks}"
            f"{len(self)} images, {len(self.class_names)} classes{stored})"
        )


def _folder(name: str, path: str | Path) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise MissingDataError(f"{name}: expected a folder, got {folder}, which is {what}")
    return folder


def _stem(path: str) -> str:
    """Path without its extension."""
    return str(PurePosixPath(path).with_suffix(""))


def _is_image(path: str) -> bool:
    """Tell by its extension whether a file is an image; hidden files are none."""
    return path.lower().endswith(IMAGE_SUFFIXES) and not PurePosixPath(path).name.startswith(".")


def _list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files, sorted, with forward slashes on every system."""
    found = [
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
    ]
    if not found:
        raise MissingDataError(f"images: expected a folder with images, got {folder}: it is empty")
    return sorted(found)


def _find_images(
    folder: Path, table: Path, rows: Sequence[LabelRow], present: Sequence[str]
) -> tuple[str, ...]:
    """Return the path of every row's image in the folder."""
    exact = set(present)
    by_path = {_key(path): path for path in present}
    by_stem: dict[str, list[str]] = {}
    for path in filter(_is_image, present):
        by_stem.setdefault(_key(_stem(path)), []).append(path)
    found, missing = [], []
    for row in rows:
        pure = PurePosixPath(row.image)
        if pure.is_absolute() or ".." in pure.parts:
            raise DataError(
                f"{table}: line {row.line}: expected a path relative to {folder} and inside it, "
                f"got {row.image!r}"
            )
        key = _key(str(pure))
        candidates = [by_path[key]] if key in by_path else by_stem.get(key, [])
        # Two names may differ in the spelling of an accent alone. Folders behind symbolic links are
        # not searched, but may be named.
        if str(pure) in exact or (not candidates and (folder / pure).is_file()):
            candidates = [str(pure)]
        if len(candidates) > 1:
            raise DataError(
                f"{table}: line {row.line}: {row.image!r} may be any of {', '.join(candidates)} in "
                f"{folder}; write the name with its extension"
            )
        found += candidates
        missing += [] if candidates else [row]
    if missing:
        row, others = missing[0], f" ({len(missing)} such lines)" if len(missing) > 1 else ""
        near = difflib.get_close_matches(row.image.replace("\\", "/"), by_path, n=1)
        hint = (
            f"did you mean {by_path[near[0]]!r}?" if near else "put it there, or out of the table"
        )
        raise MissingDataError(
            f"{table}: line {row.line}: no image {row.image!r} in {folder}{others}; {hint}"
        )
    return tuple(found)


def _key(path: str) -> str:
    """Spell a path in one way: accents may be stored as letters of their own."""
    return unicodedata.normalize("NFC", path)


def _check_unique(
    names: Sequence[str], paths: Sequence[str], rows: Sequence[LabelRow], table: Path
) -> None:
    """Raise if a name stands for two lines: predictions and masks of both would be one file."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        other = first.setdefault(name, number)
        if other == number:
            continue
        lines = f"{table}: lines {rows[other].line} and {rows[number].line}"
        if paths[other] == paths[number]:
            raise DataError(f"{lines} both list {paths[number]}; put all its labels into one line")
        raise DataError(
            f"{lines}: {paths[other]} and {paths[number]} differ in their extension alone, but "
            "a name stands for one image: rename one of the files"
        )


def _check_masks(folder: Path, names: Sequence[str]) -> None:
    """Raise if masks are missing: a score over some of the images would be another number."""
    missing = [name for name in names if not (folder / f"{name}.png").is_file()]
    if missing:
        raise MissingDataError(
            f"{folder / missing[0]}.png: no such mask; {len(missing)} of {len(names)} images have "
            "none: add them, take these images out of the table, or read without masks: masks=None"
        )
