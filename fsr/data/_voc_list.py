"""Lists of images in VOC's layout: one name a line, or the paths of an image and its mask."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fsr._core.text import read_text
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._relative import check_writable, image_stem, turned
from fsr.data._voc_masks import AUGMENTED
from fsr.errors import DataError, MissingDataError

# Lists of one class say in a second column whether an image shows it.
_FLAGS = ("-1", "0", "1")
_ENDINGS = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
# An image and its mask; either may have spaces in its name.
_PAIR = re.compile(rf"(.+?(?:{_ENDINGS}))\s+\S.*", re.IGNORECASE)


def find_voc_image(folder: Path, name: str) -> Path:
    """Return the file of an image; VOC's end in ``.jpg``, those of other tools as they will.

    Args:
        folder: the folder ``JPEGImages``.
        name: name of the image, without ending.

    Returns:
        The file; the one that ends in ``.jpg`` where there is none.
    """
    official = folder / f"{name}.jpg"
    # Cheap where all is as it should be; os.path tells of names that no file can have, too.
    if os.path.isfile(official):
        return official
    others = (folder / f"{name}{end}" for s in IMAGE_SUFFIXES for end in (s, s.upper()))
    return next((path for path in others if os.path.isfile(path)), official)


def read_voc_list(folder: Path, split: str, images: Path | None = None) -> tuple[str, ...]:
    """Read the image names of a split; lines may also be paths of an image and its mask.

    Args:
        folder: folder of the lists.
        split: name of the list.
        images: folder of the images, which tells where a name with spaces ends; without it the
            first word is the name.

    Raises:
        MissingDataError: there is no such list.
        DataError: the list is empty or no text, names an image twice or one that cannot be, or does
            not tell which image it means.
    """
    path = folder / f"{split}.txt"
    if "\0" in split or not path.is_file():
        raise MissingDataError(_missing(folder, split))
    lines = [(n, line.strip()) for n, line in enumerate(read_text(path).split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise DataError(f"{path}: expected one image name a line, got an empty list")
    owners: dict[str, str] = {}
    for number, line in lines:
        where = f"{path}: line {number}"
        check_writable(where, line)
        name = _name(where, line, images)
        if not name:
            raise DataError(f"{where}: expected the name of an image, got {line!r}")
        if name in owners:
            spelled = "" if line == owners[name] else f" (as {owners[name]!r} and {line!r})"
            raise DataError(
                f"{path}: expected each image once, {name} is listed again{spelled} and would "
                "count twice"
            )
        owners[name] = line
    return tuple(owners)


def _name(where: str, line: str, images: Path | None) -> str:
    """Return the image that a line means."""
    if len(line.split()) == 1:
        return _last(line, images)
    pair = _PAIR.fullmatch(line)
    if pair:
        return _last(pair[1], images)
    first, flag = _last(line.split()[0], images), line.split()[1:] in [[f] for f in _FLAGS]
    if images is None:
        return first
    whole = _last(line, images)
    if not _known(images, whole):
        return first if flag or _known(images, first) else whole
    if flag and _known(images, first):
        raise DataError(
            f"{where}: {line!r} may be the image {whole!r}, or {first!r} with a column behind it; "
            "rename one of them"
        )
    return whole


def _last(path: str, images: Path | None) -> str:
    """Return the name of an image by its path, without folders and ending."""
    name = PurePosixPath(path).name
    if "\\" in name and not (images and _known(images, name)):
        name = PurePosixPath(turned(path)).name
    # A name that ends so may be all of it.
    plain = image_stem(name)
    if plain != name and not name.endswith(".jpg") and images and _known(images, name):
        return name
    return plain


def _known(images: Path, name: str) -> bool:
    """Tell whether there is an image of that name."""
    return os.path.isfile(find_voc_image(images, name))


def _missing(folder: Path, split: str) -> str:
    """Say what lists there are, and how to make the one that the archive lacks."""
    available: Sequence[str] = sorted(p.stem for p in folder.glob("*.txt"))
    message = (
        f"split: expected a list in {folder} (available: {', '.join(available) or 'none'}), "
        f"got {split!r}"
    )
    if split == "train_aug":
        message += (
            "; train_aug.txt is not part of the official archive: it lists the images of "
            "train.txt and of the Semantic Boundaries Dataset less those of val.txt, 10,582 "
            f"names, one a line, and their masks belong in {AUGMENTED}; "
            "fsr prepare voc makes both"
        )
    return message
