"""One's own images: a folder, a table of image-level labels, masks where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from fsr.data.files import DataError, MissingDataError, read_image, read_label_map
from fsr.data.label_table import LabelRow, LabelTable, read_labels
from fsr.data.sample import Sample


class FolderDataset:
    r"""A folder of images of any format with a CSV of labels; indexes to :class:`Sample`.

    The table has a column ``image``, a path relative to ``images`` with or without its extension,
    and either a column ``labels`` with names separated by semicolons (``cat;dog``, empty for an
    image without a class) or one column of 0 and 1 per class. See
    :mod:`fsr.data.label_builders` for ways to make one.

    Images that the table does not list are left out. Names are the paths in the table without
    extension, folders included, so that they stay unique.

    Args:
        images: folder that the table's paths are relative to.
        labels_csv: the table, UTF-8.
        masks: folder with a mask for every image, the same path with the extension ``.png``:
            palette or greyscale, 0 = background, c + 1 = class c, 255 = ignore. None without.
        class_names: names of the C classes in order, to use one table's order for another. By
            default the columns in their order, or the names in the column ``labels``, sorted.

    Attributes:
        class_names: names of the C classes, background not among them.
        names: names of the images, in the order of the table.

    Raises:
        MissingDataError: a folder, the table or an image in it is not there.
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
    ) -> None:
        self.images = _folder("images", images)
        self.masks = None if masks is None else _folder("masks", masks)
        self.labels_csv = Path(labels_csv).expanduser()
        table: LabelTable = read_labels(self.labels_csv, class_names=class_names)
        self.class_names = table.class_names
        self._index = {name: number for number, name in enumerate(table.class_names)}
        self._rows = table.rows
        self._paths = _find_images(self.images, self.labels_csv, table.rows)
        self.names = tuple(_stem(path) for path in self._paths)
        _check_unique(self.names, self._paths, self.labels_csv)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            IndexError: there is no such sample.
            MissingDataError: its image or mask is not there.
            DataError: its image or mask cannot be used.
        """
        image = read_image(self.image_path(index))
        target = None
        if self.masks is not None:
            path = self.masks / f"{self.names[index]}.png"
            if not path.is_file():
                raise MissingDataError(
                    f"{path}: no such mask; add it, take {self._paths[index]} out of "
                    f"{self.labels_csv}, or read without masks: masks=None"
                )
            target = read_label_map(path, len(self.class_names), image.size)
        return Sample(image, self.load_labels(index), target, self.names[index])

    def image_path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.images / self._paths[index]

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(C,)``, without reading its image."""
        labels = torch.zeros(len(self.class_names))
        labels[[self._index[name] for name in self._rows[index].labels]] = 1.0
        return labels

    def __repr__(self) -> str:
        return (
            f"FolderDataset({str(self.images)!r}, {str(self.labels_csv)!r}, {len(self)} images, "
            f"{len(self.class_names)} classes)"
        )


def _folder(name: str, path: str | Path) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise MissingDataError(f"{name}: expected a folder, got {folder}, which is {what}")
    return folder


def _stem(path: PurePosixPath) -> str:
    """Path without its extension, with forward slashes on every system."""
    return str(path.with_suffix(""))


def _find_images(folder: Path, table: Path, rows: Sequence[LabelRow]) -> tuple[PurePosixPath, ...]:
    """Return the path of every row's image in the folder."""
    by_stem: dict[str, list[PurePosixPath]] = {}
    known: set[PurePosixPath] = set()
    for path in folder.rglob("*"):
        if path.is_file():
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            known.add(relative)
            by_stem.setdefault(_stem(relative), []).append(relative)
    if not known:
        raise MissingDataError(f"images: expected a folder with images, got {folder}: it is empty")
    found = []
    for row in rows:
        path = PurePosixPath(row.image)
        if path in known:
            found.append(path)
            continue
        candidates = sorted(by_stem.get(str(path), []))
        if len(candidates) > 1:
            listed = ", ".join(map(str, candidates))
            raise DataError(
                f"{table}: line {row.line}: {row.image!r} may be any of {listed} in {folder}; "
                "write the name with its extension"
            )
        if not candidates:
            raise MissingDataError(
                f"{table}: line {row.line}: no image {row.image!r} in {folder}; paths are "
                "relative to that folder"
            )
        found.append(candidates[0])
    return tuple(found)


def _check_unique(names: Sequence[str], paths: Sequence[PurePosixPath], table: Path) -> None:
    """Raise if two images differ in their extension alone: their masks would be one file."""
    first: dict[str, PurePosixPath] = {}
    for name, path in zip(names, paths, strict=True):
        if name in first:
            raise DataError(
                f"{table}: {first[name]} and {path} differ in their extension alone, but a name "
                "stands for one image: rename one of the files"
            )
        first[name] = path
