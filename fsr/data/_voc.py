"""PASCAL VOC 2012 in its official folder layout."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fsr.cam import BACKGROUND, ignore_label
from fsr.data._named_files import NamedFiles
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._reading import Reading, ReadingChanges
from fsr.data._sample import Sample
from fsr.data._voc_classes import CLASS_LISTS, VOC_CLASSES, voc_classes
from fsr.data._voc_list import read_voc_list
from fsr.data._voc_masks import OFFICIAL, mask_folder, read_voc_mask
from fsr.data._voc_root import find_voc_root, held
from fsr.data._voc_xml import names_image, read_voc_xml
from fsr.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from typing_extensions import Unpack


class VOC2012:
    """PASCAL VOC 2012 for segmentation from image-level labels; indexes to :class:`Sample`.

    ``root`` holds ``JPEGImages``, ``ImageSets/Segmentation`` and, as far as they exist,
    ``Annotations``, ``SegmentationClass`` and ``SegmentationClassAug``.

    Image-level labels are the classes of all objects in ``Annotations/NAME.xml``, those marked
    difficult or truncated included, or of the mask where there is no such file. Images of the split
    "test" without either have NaN as labels: unknown, and refused by training.

    Masks come from ``SegmentationClassAug`` for "train_aug" and from ``SegmentationClass`` for
    other splits, or from the other folder where only that exists. ``target`` is None for "test",
    with ``masks=False``, without either folder, and for images of "train_aug" that
    ``SegmentationClass`` does not cover.

    Other tools write this layout with classes of their own. Where ``root`` holds a list of them,
    they are taken: ``classes.txt`` or ``class_names.txt`` (label n in line n + 1, background first)
    or ``labelmap.txt`` of CVAT, whose colours are read too. Masks may lie in
    ``SegmentationClassPNG``, images may end otherwise than in ``.jpg``, and names in lists may have
    spaces. A file of boxes whose ``<filename>`` names another image is warned of, once.

    Args:
        root: the folder ``VOC2012``, the ``VOCdevkit`` above it, or the folder above that.
        split: name of a list in ``ImageSets/Segmentation``: "train", "val", "trainval", "test",
            "train_aug" or one of your own.
        masks: read masks; ``False`` for training, which needs labels only.
        class_names: names of the classes in order, for a folder that does not list them; refused
            where it lists others. By default those it lists, else VOC's 20.
        reading: fields of :class:`fsr.data.Reading`; ``orient`` is False, as masks are, by default.

    Attributes:
        class_names: names of the C classes, background not among them; VOC's 20 where the folder
            lists no others.
        mask_classes: what labels and colours in its masks stand for.
        names: file names of the images without extension, in the order of the list.

    Raises:
        MissingDataError: the folder or the list is not there.
        DataError: the list is empty, is no text, or names an image twice; or a list of classes
            cannot be read or says otherwise than ``class_names``.

    Source:
        Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015;
        "train_aug": Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011.

    Example:
        >>> VOC2012("/no/such/folder")
        Traceback (most recent call last):
            ...
        fsr.errors.MissingDataError: root: expected a folder that holds JPEGImages, ...
    """

    class_names: tuple[str, ...] = VOC_CLASSES

    def __init__(
        self,
        root: str | Path,
        split: str = "train_aug",
        *,
        masks: bool = True,
        class_names: Sequence[str] | None = None,
        **reading: Unpack[ReadingChanges],
    ) -> None:
        reading.setdefault("orient", False)
        self.reading = Reading(**reading)
        self.root = find_voc_root(Path(root).expanduser())
        self.split = split
        self.mask_classes = voc_classes(self.root, class_names)
        self.class_names = self.mask_classes.names
        self.names = read_voc_list(
            self.root / "ImageSets" / "Segmentation", split, self.root / "JPEGImages"
        )
        self._mask_folder = None if split == "test" else mask_folder(self.root, split)
        # Cameras and other systems write other cases and endings.
        self._photographs = NamedFiles(self.root / "JPEGImages", self.names)
        self._boxes = NamedFiles(self.root / "Annotations", self.names)
        self._drawn = NamedFiles(self._mask_folder or self.root / OFFICIAL, self.names)
        self.masks = masks
        self._warned = False

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
            MissingDataError: a file of the sample is not there.
            DataError: a file of the sample cannot be used.
        """
        name = self.names[index]
        image = self.reading.image(path := self.image_path(index))
        target = None
        if self.masks and (mask := self._existing_mask(name)) is not None:
            with self.reading.hinted(mask, path):
                target = self._read_mask(mask, image.size)
        return Sample(image, self.load_labels(index), target, name)

    def image_path(self, index: int) -> Path:
        """Return the file of one image: NAME.jpg, or one that ends otherwise if it is the only one.

        Raises:
            DataError: there is no such file, and several of that name end otherwise.
        """
        return self._photographs.find(self.names[index], (".jpg", *IMAGE_SUFFIXES))

    def files(self, index: int) -> tuple[Path, ...]:
        """Return all files that one sample is read from, as far as they exist."""
        name = self.names[index]
        mask = self._mask_path(name)
        annotations = self.root / "Annotations" / f"{name}.xml"
        return (self.image_path(index), annotations, *(() if mask is None else (mask,)))

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(C,)``, without decoding its image.

        Raises:
            IndexError: there is no such sample.
            MissingDataError: the sample has neither annotations nor a mask.
            DataError: its annotations or mask cannot be used.
        """
        name = self.names[index]
        annotations = self._boxes.find(name, (".xml",))
        if annotations.is_file():
            return self._multi_hot(self._read_annotations(annotations, name))
        mask = self._mask_path(name)
        if mask is not None and mask.is_file():
            target = self._read_mask(mask)
            left_out = {BACKGROUND, ignore_label(len(self.class_names))}
            present = set(np.unique(target.numpy()).tolist()) - left_out
            return self._multi_hot([label - 1 for label in present])
        if self.split == "test":
            return torch.full((len(self.class_names),), torch.nan)
        raise MissingDataError(
            f"{name}: no image-level labels; expected {annotations}, or a mask in "
            f"{mask.parent if mask else self.root / OFFICIAL}: unpack the Annotations folder of "
            f"the official archive, or name a folder of masks so; {self.root} holds "
            f"{held(self.root)}"
        )

    def compared_mask(self, index: int) -> Path | None:
        """Return the mask of an image whose labels come from its boxes, None if it has not both."""
        name = self.names[index]
        mask = self._mask_path(name)
        boxes = self._boxes.find(name, (".xml",))
        return mask if mask is not None and mask.is_file() and boxes.is_file() else None

    def __repr__(self) -> str:
        changed = self.reading.changed(orient=False)
        return f"VOC2012({str(self.root)!r}, split={self.split!r}, {len(self)} images{changed})"

    def _mask_path(self, name: str) -> Path | None:
        """Return where the mask of an image belongs, None if the split has no masks."""
        return self._drawn.find(name, (".png",)) if self._mask_folder else None

    def _existing_mask(self, name: str) -> Path | None:
        """Return the mask of an image, None where it need not exist."""
        path = self._mask_path(name)
        if path is None:
            return None
        if self.split == "train_aug" and path.parent.name == OFFICIAL and not path.is_file():
            return None
        if not path.is_file():
            raise MissingDataError(
                f"{path}: no such mask; complete the folder, or read without masks: masks=False"
            )
        return path

    def _read_mask(self, path: Path, size: tuple[int, int] | None = None) -> Tensor:
        """Read a mask of these classes."""
        return read_voc_mask(path, self.mask_classes, size, max_pixels=self.reading.max_pixels)

    def _read_annotations(self, path: Path, name: str) -> list[int]:
        """Return the class index of every object in an annotation file; parts are no objects."""
        boxes = read_voc_xml(path)
        if boxes.filename and not self._warned and not names_image(boxes.filename, name):
            self._warned = True
            warnings.warn(
                f"{path}: its <filename> names another image, {boxes.filename!r}; its boxes are "
                f"taken for {name!r}: move it away if they are not",
                stacklevel=4,
            )
        for found in boxes.classes:
            if found not in self.class_names:
                raise DataError(self._unknown(path, found))
        return [self.class_names.index(found) for found in boxes.classes]

    def _unknown(self, path: Path, name: str) -> str:
        """Say that a class is none of this folder, and how to say that it is."""
        near = difflib.get_close_matches(name, self.class_names, n=1)
        message = (
            f"{path}: object name: expected one of {', '.join(map(repr, self.class_names))}, got "
            f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        )
        if self.mask_classes.source is not None:
            return f"{message}; {self.mask_classes.source} lists the classes"
        return f"{message}; list other classes in {self.root / CLASS_LISTS[0]}, background first"

    def _multi_hot(self, classes: Sequence[int]) -> Tensor:
        """Return labels ``(C,)`` that are 1 at the given classes."""
        labels = torch.zeros(len(self.class_names))
        labels[list(classes)] = 1.0
        return labels
