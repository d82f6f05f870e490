"""PASCAL VOC 2012 in its official folder layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from fsr._core.checks import check_choice
from fsr.cam import BACKGROUND, IGNORE
from fsr.data._files import read_image, read_label_map
from fsr.data._sample import Sample
from fsr.errors import DataError, MissingDataError

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_AUGMENTED = "SegmentationClassAug"
_OFFICIAL = "SegmentationClass"


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

    Args:
        root: the folder ``VOC2012``, the ``VOCdevkit`` above it, or the folder above that.
        split: name of a list in ``ImageSets/Segmentation``: "train", "val", "trainval", "test",
            "train_aug" or one of your own.
        masks: read masks; ``False`` for training, which needs labels only.

    Attributes:
        class_names: names of the 20 classes, background not among them.
        names: file names of the images without extension, in the order of the list.

    Raises:
        MissingDataError: the folder or the list is not there.
        DataError: the list is empty, is no text, or names an image twice.

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

    def __init__(self, root: str | Path, split: str = "train_aug", *, masks: bool = True) -> None:
        self.root = find_voc_root(Path(root).expanduser())
        self.split = split
        self.names = read_voc_list(self.root / "ImageSets" / "Segmentation", split)
        first, second = (_AUGMENTED, _OFFICIAL) if split == "train_aug" else (_OFFICIAL, _AUGMENTED)
        found = [self.root / name for name in (first, second) if (self.root / name).is_dir()]
        self._mask_folder = found[0] if found and split != "test" else None
        self.masks = masks

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
        image = read_image(self.image_path(index))
        target = self._load_target(name, image.size) if self.masks else None
        return Sample(image, self.load_labels(index), target, name)

    def image_path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.root / "JPEGImages" / f"{self.names[index]}.jpg"

    def files(self, index: int) -> tuple[Path, ...]:
        """Return all files that one sample is read from, as far as they exist."""
        name = self.names[index]
        mask = self._mask_path(name)
        annotations = self.root / "Annotations" / f"{name}.xml"
        return (self.image_path(index), annotations, *(() if mask is None else (mask,)))

    def load_labels(self, index: int) -> Tensor:
        """Return the image-level labels of one sample, ``(20,)``, without decoding its image.

        Raises:
            IndexError: there is no such sample.
            MissingDataError: the sample has neither annotations nor a mask.
            DataError: its annotations or mask cannot be used.
        """
        name = self.names[index]
        annotations = self.root / "Annotations" / f"{name}.xml"
        if annotations.is_file():
            return _multi_hot(_read_annotations(annotations))
        mask = self._mask_path(name)
        if mask is not None and mask.is_file():
            target = read_label_map(mask, len(VOC_CLASSES))
            present = set(np.unique(target.numpy()).tolist()) - {BACKGROUND, IGNORE}
            return _multi_hot([label - 1 for label in present])
        if self.split == "test":
            return torch.full((len(VOC_CLASSES),), torch.nan)
        raise MissingDataError(
            f"{name}: no image-level labels; expected {annotations}, or a mask in "
            f"{mask.parent if mask else self.root / _OFFICIAL}: unpack the Annotations folder of "
            "the official archive"
        )

    def __repr__(self) -> str:
        return f"VOC2012({str(self.root)!r}, split={self.split!r}, {len(self)} images)"

    def _mask_path(self, name: str) -> Path | None:
        """Return where the mask of an image belongs, None if the split has no masks."""
        return self._mask_folder / f"{name}.png" if self._mask_folder else None

    def _load_target(self, name: str, size: tuple[int, int]) -> Tensor | None:
        """Read the mask of an image, None where it need not exist."""
        path = self._mask_path(name)
        if path is None:
            return None
        if self.split == "train_aug" and path.parent.name == _OFFICIAL and not path.is_file():
            return None
        if not path.is_file():
            raise MissingDataError(
                f"{path}: no such mask; complete the folder, or read without masks: masks=False"
            )
        return read_label_map(path, len(VOC_CLASSES), size)


def find_voc_root(root: Path) -> Path:
    """Return the folder that holds ``JPEGImages``."""
    for candidate in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (candidate / "JPEGImages").is_dir():
            return candidate
    if root.is_dir():
        inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        found = f"{root}, which holds {inside}"
    else:
        found = f"{root}, which is no folder"
    raise MissingDataError(
        "root: expected a folder that holds JPEGImages, VOC2012/JPEGImages or "
        f"VOCdevkit/VOC2012/JPEGImages, got {found}"
    )


def read_voc_list(folder: Path, split: str) -> tuple[str, ...]:
    """Read the image names of a split; lines may also be paths of an image and its mask."""
    path = folder / f"{split}.txt"
    if not path.is_file():
        available = ", ".join(sorted(p.stem for p in folder.glob("*.txt"))) or "none"
        message = f"split: expected a list in {folder} (available: {available}), got {split!r}"
        if split == "train_aug":
            message += (
                "; train_aug.txt is not part of the official archive: it lists the images of "
                "train.txt and of the Semantic Boundaries Dataset less those of val.txt, 10,582 "
                f"names, one a line, and their masks belong in {_AUGMENTED}; "
                "fsr prepare voc makes both"
            )
        raise MissingDataError(message)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected one image name a line, got no text ({error})") from error
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    if not words:
        raise DataError(f"{path}: expected one image name a line, got an empty list")
    names = tuple(PurePosixPath(word).name.removesuffix(".jpg") for word in words)
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(
            f"{path}: expected each image once, {twice[0]} is listed again and would count twice"
        )
    return names


def _read_annotations(path: Path) -> list[int]:
    """Return the class index of every object in an annotation file; parts are no objects."""
    try:
        tree = ElementTree.parse(path)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from error
    found = []
    for item in tree.getroot().findall("object"):
        name = (item.findtext("name") or "").strip()
        check_choice(f"{path}: object name", name, VOC_CLASSES)
        found.append(VOC_CLASSES.index(name))
    return found


def _multi_hot(classes: Sequence[int]) -> Tensor:
    """Return labels ``(20,)`` that are 1 at the given classes."""
    labels = torch.zeros(len(VOC_CLASSES))
    labels[list(classes)] = 1.0
    return labels
