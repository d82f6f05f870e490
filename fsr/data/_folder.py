"""One's own images: a folder, a table of image-level labels, masks where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fsr.data._coded import coded
from fsr.data._folder_files import check_unique, existing_folder, find_images, list_files
from fsr.data._folder_masks import find_masks
from fsr.data._folder_places import is_image, stem
from fsr.data._label_reading import read_label_columns
from fsr.data._label_sets import LabelSets
from fsr.data._packed_texts import PackedTexts
from fsr.data._reading import Reading, ReadingChanges
from fsr.data._sample import Sample
from fsr.data._voc_classes import check_class_list

if TYPE_CHECKING:
    from typing_extensions import Unpack


class FolderDataset:
    r"""A folder of images of any format with a CSV of labels; indexes to :class:`Sample`.

    The table has a column ``image``, a path relative to ``images`` with or without its extension,
    and either a column ``labels`` with names separated by semicolons (``cat;dog``, empty for an
    image without a class) or one column of 0 and 1 per class. Columns may be separated by
    semicolons or tabs too, and those that number the rows are left out. Where a cell or a name may
    mean two things, the table is refused.

    Images and masks are found in another case too, where one file alone can be meant. Images that
    the table does not list are left out and counted. Names are the paths of the images without
    extension, folders included (``cats/0001``), so that they stay unique.

    Names and labels are held in a few arrays, which worker processes share: about 40 bytes and the
    name an image. Names that a table gives with their extension are found fastest.

    Args:
        images: folder that the table's paths are relative to; images may be of any format that
            Pillow reads, in folders inside it too.
        labels_csv: the table, see :func:`read_labels`.
        masks: folder with a mask for every image of the table, the same path with the extension
            ``.png``: palette or greyscale, 0 = background, c + 1 = class c, 255 = ignore. None
            without.
        class_names: names of the C classes in order, to use one table's order for another. By
            default the columns in their order, or the names in the column ``labels``, sorted.
        reading: fields of :class:`fsr.data.Reading`. Photographs are turned upright as their EXIF
            data say, as viewers and most drawing tools do; ``orient=False`` if the masks fit the
            pixels as they are stored.

    Attributes:
        class_names: names of the C classes, background not among them.
        names: names of the images, in the order of the table; a sequence that equals their tuple.
        unlisted: number of image files in the folder that the table does not list.

    Raises:
        MissingDataError: a folder, the table, an image in it or a mask is not there.
        DataError: the table cannot be used; the message has the line. Or a ``classes.txt`` with the
            masks lists other classes, background first, as exports and predictions do.

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
        **reading: Unpack[ReadingChanges],
    ) -> None:
        self.reading = Reading(**reading)
        self.images = existing_folder("images", images)
        self.masks = None if masks is None else existing_folder("masks", masks)
        self.labels_csv = Path(labels_csv).expanduser()
        table = read_label_columns(self.labels_csv, class_names)
        self.class_names = table.class_names
        numbers = {name: number for number, name in enumerate(table.class_names)}
        sets = ([numbers[name] for name in names] for names in table.sets)
        self._labels = LabelSets(sets, table.codes, len(numbers))
        present = list_files(self.images)
        paths = find_images(self.images, self.labels_csv, table.images, table.lines, present)
        names = list(map(stem, paths))
        check_unique(names, paths, table.lines, self.labels_csv)
        self.unlisted = sum(map(is_image, present.difference(paths)))
        self._masks = {} if self.masks is None else find_masks(self.masks, names)
        # Worker processes share arrays; every object that one of them looks at becomes its own.
        self.names = PackedTexts(names)
        self._endings = coded(map(str.removeprefix, paths, names))
        if self.masks is not None:
            check_class_list(self.masks, self.class_names)

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
        image = self.reading.image(path)
        target = None
        mask = self.mask_path(index)
        if mask is not None:
            target = self.reading.target(mask, len(self.class_names), path, image)
        return Sample(image, self.load_labels(index), target, name)

    @property
    def orient(self) -> bool:
        """Whether photographs are turned upright."""
        return self.reading.orient

    def image_path(self, index: int) -> Path:
        """Return the file of one image."""
        ending: str = self._endings.values[self._endings.codes[index]]
        return self.images / f"{self.names[index]}{ending}"

    def mask_path(self, index: int) -> Path | None:
        """Return the mask of one image, None without masks."""
        if self.masks is None:
            return None
        mask = self.masks / f"{self.names[index]}.png"
        return self._masks.get(range(len(self))[index], mask)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return all files that one sample is read from."""
        mask = self.mask_path(index)
        return (self.image_path(index), self.labels_csv, *(() if mask is None else (mask,)))

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(C,)``, without reading its image."""
        return self._labels.multi_hot(index)

    def class_counts(self, images: int | None = None) -> list[int]:
        """Return how many images have each class, without a look at one after the other.

        Args:
            images: count in the first so many, None for all.
        """
        return self._labels.counts(len(self) if images is None else images)

    def __repr__(self) -> str:
        masks = "" if self.masks is None else f"masks={str(self.masks)!r}, "
        return (
            f"FolderDataset({str(self.images)!r}, {str(self.labels_csv)!r}, {masks}"
            f"{len(self)} images, {len(self.class_names)} classes{self.reading.changed()})"
        )
