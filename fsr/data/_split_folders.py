"""Folders that hold splits or kinds of files, and are taken for classes when one level too high."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fsr.errors import DataError

_SPLIT = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|test|testing|eval|holdout|fold)"
    r"[\W_]*(set|split|data|images|imgs)?[\W_]*\d*[\W_]*(set|split|data|images|imgs)?"
)
_KINDS = frozenset({"image", "images", "img", "imgs", "jpegimages", "photos", "pictures"}) | {
    "annotations", "gt", "ground_truth", "groundtruth", "label", "labels", "mask", "masks",
    "segmentationclass", "segmentationclassaug", "segmentationclasspng", "segmentationobject",
}  # fmt: skip
# Alone beside others these may be classes: what runs on rails, what is worn, a kind of strip.
_CLASSES_TOO = frozenset({"train", "mask", "test", "label", "fold", "photos", "pictures"})


def check_split_folders(root: Path, folders: Mapping[str, set[str]]) -> None:
    """Raise if the folders of a root are splits of the data or kinds of files, and no classes.

    Args:
        root: the folder that should hold a folder per class.
        folders: names of the folders in it that have images, with the folders inside each of these.

    Raises:
        DataError: with the folder to name instead.

    Example:
        >>> check_split_folders(Path("data"), {"train": {"cat", "dog"}, "val": {"cat", "dog"}})
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: data: train, val are no classes but splits of the data or ...
    """
    wrong = [name for name in folders if _is_split(name) or name.lower() in _KINDS]
    alone = len(wrong) == 1
    nested = any(folders[name] & (folders.keys() - {name}) for name in wrong)
    sure = len(wrong) > 1 or nested or (alone and wrong[0].lower() not in _CLASSES_TOO)
    everything = len(wrong) == len(folders) and any(folders[name] for name in wrong)
    if not wrong or not (sure or everything):
        return
    inner = next((name for name in wrong if folders[name]), None)
    way_out = (
        f"name one that holds a folder per class, such as {root / inner}"
        if inner is not None
        else "expected a folder per class, as in photos/cat and photos/dog"
    )
    raise DataError(
        f"{root}: {', '.join(wrong)} are no classes but splits of the data or kinds of files; "
        f"{way_out}; rename a folder that is a class"
    )


def _is_split(name: str) -> bool:
    return _SPLIT.fullmatch(name.lower()) is not None
