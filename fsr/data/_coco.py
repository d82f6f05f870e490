"""MS COCO 2014 in its official folder layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fsr.cam import ignore_label
from fsr.data._coco_annotations import read_coco_annotations
from fsr.data._coco_cache import MaskCache
from fsr.data._named_files import NamedFiles, without_ending
from fsr.data._packed_texts import PackedTexts
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._reading import Reading, ReadingChanges
from fsr.data._sample import Sample
from fsr.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from typing_extensions import Unpack


class COCO2014:
    """MS COCO 2014 for segmentation from image-level labels; indexes to :class:`Sample`.

    ``root`` holds ``annotations/instances_SPLIT2014.json`` and the images in ``SPLIT2014`` or
    ``images/SPLIT2014``. Any annotation file of that name and format will do: classes are its
    categories in the order of their ids, whose gaps close (official ids 1..90 become 0..79). Paths
    in it may not leave the folder of images; slashes of Windows are turned.

    Image-level labels are the categories of all annotations of an image, crowd regions included, as
    in the label files that papers use; a class may be there as a crowd alone, and an image too.
    Images without annotations are left out. The order is that of the image ids.

    Masks are drawn from polygons and run lengths: the larger ``area`` first, so that small objects
    stay visible, and crowd regions as 255 where nothing else is. Papers that drew masks by another
    rule have other pixels where objects overlap.

    Reading a file of the size of the official train file takes a quarter of a minute and 3 GB for
    that time. What stays are a few arrays that worker processes share or copy cheaply: 12 MB, and
    300 MB with masks.

    Args:
        root: the folder, or the one above it if it is named ``coco``, ``COCO`` or ``coco2014``.
        split: "train", "val", or another for which there is an annotation file.
        masks: draw masks; ``False`` for training, which needs labels only.
        cache: folder to keep drawn masks in as palette PNGs, in a folder inside it per split; None
            draws them each time. Several processes may fill it at once.
        reading: fields of :class:`fsr.data.Reading`; ``orient`` is False by default, as COCO's
            annotations fit the pixels as they are stored.

    Attributes:
        class_names: names of the C classes, background not among them.
        names: file names of the images without extension.
        images: folder of the split's images.
        unused_categories: names of categories that stand for no class and were left out: a
            background that no annotation has, and a parent of all others.
        without_annotations: number of images that were left out.

    Raises:
        ImportError: pycocotools is not installed (extra ``coco``).
        MissingDataError: the annotations or the folder of images are not there.
        DataError: the annotations cannot be used, or the cache holds masks of other annotations.

    Source:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Example:
        >>> COCO2014("/no/such/folder")
        Traceback (most recent call last):
            ...
        fsr.errors.MissingDataError: root: expected a folder that holds annotations/..., ...
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        masks: bool = True,
        cache: str | Path | None = None,
        **reading: Unpack[ReadingChanges],
    ) -> None:
        reading.setdefault("orient", False)
        self.reading = Reading(**reading)
        self.root = find_coco_root(Path(root).expanduser())
        self.split = split
        self.masks = masks
        self.annotations_path = self.root / "annotations" / f"instances_{split}2014.json"
        if not self.annotations_path.is_file():
            available = ", ".join(coco_splits(self.root)) or "none"
            raise MissingDataError(
                f"split: expected a file instances_SPLIT2014.json in {self.root / 'annotations'} "
                f"(available: {available}), got {split!r}"
            )
        self.images = _find_images(self.root, split)
        self._annotations = read_coco_annotations(self.annotations_path, self.images, masks=masks)
        self.class_names = self._annotations.class_names
        self.unused_categories = self._annotations.unused
        self.names = PackedTexts(PurePosixPath(file).stem for file in self._annotations.files)
        self.without_annotations = self._annotations.without_annotations
        listed = PackedTexts(map(without_ending, self._annotations.files))
        self._photographs = NamedFiles(self.images, listed)
        self.cache: MaskCache | None = None
        if cache is not None and masks:
            folder = Path(cache).expanduser() / f"{split}2014"
            self.cache = MaskCache(folder, self.annotations_path)

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
            MissingDataError: its image is not there.
            DataError: its image cannot be used, or has another size than its annotations.
        """
        name = self.names[index]
        path = self.image_path(index)
        image = self.reading.image(path)
        shapes = self._annotations.shapes
        # Before a mask of that size is drawn, which may be any.
        if shapes is not None and tuple(shapes.sizes[index].tolist()) != image.size:
            width, height = shapes.sizes[index].tolist()
            way = "unpack it again, or read without masks: masks=False"
            raise DataError(
                f"{path}: expected {width} x {height} pixels as in {self.annotations_path}, got "
                f"{image.width} x {image.height}; {self.reading.hint(path, (height, width)) or way}"
            )
        return Sample(image, self.load_labels(index), self.load_target(index), name)

    def image_path(self, index: int) -> Path:
        """Return the file of one image, in another case or ending if it is the only such one.

        Raises:
            DataError: there is no such file, and several in another case or ending.
        """
        file = self._annotations.files[index]
        stem = without_ending(file)
        return self._photographs.find(stem, (file[len(stem) :], *IMAGE_SUFFIXES))

    def files(self, index: int) -> tuple[Path, ...]:
        """Return all files that one sample is read from."""
        return (self.image_path(index), self.annotations_path)

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(C,)``, without decoding its image."""
        return torch.from_numpy(self._annotations.labels[index]).float()

    def load_target(self, index: int) -> Tensor | None:
        """Return the label map of one sample without decoding its image.

        Returns:
            ``(height, width)`` int64, 0 = background, c + 1 = class c, 255 = ignore; None if the
            data set was made with ``masks=False``.

        Raises:
            IndexError: there is no such sample.
            DataError: its file in the cache cannot be used.
        """
        name, shapes = self.names[index], self._annotations.shapes
        if shapes is None:
            return None
        index %= len(self)
        width, height = shapes.sizes[index].tolist()
        target = None
        if self.cache is not None:
            target = self.cache.read(name, len(self.class_names), (width, height))
        if target is None:
            target = shapes.draw(index, ignore_label(len(self.class_names)))
            if self.cache is not None:
                self.cache.write(name, target, len(self.class_names))
        return target

    def __repr__(self) -> str:
        changed = self.reading.changed(orient=False)
        return f"COCO2014({str(self.root)!r}, split={self.split!r}, {len(self)} images{changed})"


def find_coco_root(root: Path) -> Path:
    """Return the folder that holds ``annotations``.

    Args:
        root: that folder, or the one above it.

    Raises:
        MissingDataError: there is no such folder.
    """
    for candidate in (root, root / "coco", root / "COCO", root / "coco2014"):
        if (candidate / "annotations").is_dir():
            return candidate
    if root.is_dir():
        inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        found = f"{root}, which holds {inside}"
    else:
        found = f"{root}, which is no folder"
    raise MissingDataError(
        "root: expected a folder that holds annotations/instances_train2014.json, from "
        f"annotations_trainval2014.zip, got {found}"
    )


def coco_splits(root: Path) -> tuple[str, ...]:
    """Return the splits that have an annotation file, sorted.

    Args:
        root: the folder that holds ``annotations``.
    """
    found = root.glob("annotations/instances_*2014.json")
    return tuple(sorted(p.stem.removeprefix("instances_").removesuffix("2014") for p in found))


def _find_images(root: Path, split: str) -> Path:
    """Return the folder of a split's images."""
    name = f"{split}2014"
    for candidate in (root / name, root / "images" / name):
        if candidate.is_dir():
            return candidate
    raise MissingDataError(
        f"{root / name}: no such folder, nor {root / 'images' / name}; unpack {name}.zip there"
    )
