"""What the labels of a run cannot teach, and masks that contradict them, found before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fsr.data import FolderDataset, check_masks, uneven_classes
from fsr.train._data import wants_masks
from fsr.train._options import Config
from fsr.train._preset_options import build_method

OPTION = "data.allow_contradictions=true"


def look_at_labels(config: Config, train: Any, evaluation: Any) -> tuple[str, ...]:
    """Look at the labels that are trained on, and at masks beside labels.

    Args:
        config: options of the run.
        train: what is trained on.
        evaluation: what is evaluated on.

    Returns:
        Lines to warn with.

    Raises:
        DataError: masks contradict labels and ``data.allow_contradictions`` is not set, or labels
            cannot be read.
    """
    lines = list(_uneven(config, train))
    for dataset, used in ((train, wants_masks(config)), (evaluation, True)):
        if used:
            lines += check_masks(
                _whole(dataset),
                allow=config.data.allow_contradictions,
                option=OPTION,
                size=len(dataset),
            )
    return tuple(dict.fromkeys(lines))


def class_counts(train: Any) -> list[int] | None:
    """Return how many images have each class; None where that takes drawing them.

    Args:
        train: a data set of :mod:`fsr.data`, or one around it.
    """
    whole = _whole(train)
    if isinstance(whole, FolderDataset):
        return whole.class_counts(len(train))
    if not hasattr(whole, "load_labels"):
        return None
    counts = [0] * len(whole.class_names)
    for labels in _labels(whole, len(train)):
        counts = [count + has for count, has in zip(counts, labels, strict=True)]
    return counts


def _uneven(config: Config, train: Any) -> tuple[str, ...]:
    """Name the classes that all or none of the training images have; scenes are made evenly."""
    whole = _whole(train)
    if not hasattr(whole, "load_labels"):
        return ()
    masks = (config.views.kind or build_method(config).views) == "labelled"
    return uneven_classes(
        _labels(whole, len(train)), whole.class_names, "training images", masks=masks
    )


def _labels(dataset: Any, size: int) -> Iterator[list[bool]]:
    """Yield the labels of the first images, those that are not known left out."""
    for index in range(size):
        labels = dataset.load_labels(index)
        if bool(labels.isfinite().all()):
            yield (labels > 0).tolist()


def _whole(dataset: Any) -> Any:
    """Return the data set of files below what cuts it short or makes its labels noisy."""
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return dataset
