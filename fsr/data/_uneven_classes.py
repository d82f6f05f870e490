"""Classes that labels of images cannot teach: those of every image, and those of none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_NAMED = 10


def uneven_classes(
    labels: Iterable[Sequence[bool]], class_names: Sequence[str], where: str, *, masks: bool = False
) -> tuple[str, ...]:
    """Name the classes that all or none of the images have, in a line each that says why.

    Labels are read until every class was there once and lacking once.

    Args:
        labels: for each image whether it has each class.
        class_names: names of the C classes.
        where: what the images are, for the lines.
        masks: whether masks are learned from, which tell a class of every image from background.

    Returns:
        No line where every class is in some images but not in all.

    Example:
        >>> uneven_classes([[True, False], [True, False]], ("cat", "cow"), "images")[1]
        "none of the 2 images has 'cow': nothing is learned of it; add images of it, or leave ...
    """
    seen, lacking = np.zeros((2, len(class_names)), dtype=np.bool_)
    total = 0
    for row in labels:
        total += 1
        present = np.asarray(row, dtype=np.bool_)
        seen |= present
        lacking |= ~present
        if seen.all() and lacking.all():
            return ()
    if not total:
        return ()
    everywhere = [] if masks else np.flatnonzero(~lacking).tolist()
    nowhere = np.flatnonzero(~seen).tolist()
    lines = []
    if everywhere:
        lines.append(
            f"every one of the {total} {where} has {_named(class_names, everywhere)}: what is in "
            "all of them cannot be told from the background; add images without it"
        )
    if nowhere:
        lines.append(
            f"none of the {total} {where} has {_named(class_names, nowhere)}: nothing is learned "
            "of it; add images of it, or leave the class out"
        )
    return tuple(lines)


def _named(names: Sequence[str], indices: Sequence[int]) -> str:
    shown = ", ".join(repr(names[index]) for index in indices[:_NAMED])
    return shown + (f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else "")
