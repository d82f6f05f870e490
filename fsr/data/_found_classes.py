"""A table of labels from what annotations say of every image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsr.data._background import is_background
from fsr.data._class_names import check_alike, check_class_names
from fsr.data._label_table import LabelRow, LabelTable
from fsr.errors import DataError


def found_table(
    source: Path, found: dict[str, list[str]], class_names: Sequence[str] | None
) -> LabelTable:
    """Make a table of the classes found per image; each class once and in order.

    Args:
        source: file or folder that they come from, for messages.
        found: names of the classes of every image, as often as they were found.
        class_names: the classes to keep, in order; None keeps all, sorted.

    Raises:
        DataError: nothing was found, or nothing to keep, or names look alike or name no class.
    """
    used = {name for names in found.values() for name in names}
    if not used:
        raise DataError(f"{source}: expected objects in some of {len(found)} images, found none")
    names = sorted(used) if class_names is None else class_names
    background = next((name for name in names if is_background(name)), None)
    if background is not None:
        raise DataError(
            f"{source}: {background!r} is no class: it is what no class covers; name the classes "
            "to keep without it: --classes NAME ... (class_names=)"
        )
    check_alike(source, [*sorted(used), *(class_names or ())])
    kept = check_class_names(source, names)
    if not used.intersection(kept):
        raise DataError(
            f"{source}: no object is of a class to keep ({', '.join(kept)}); there are "
            f"{', '.join(sorted(used))}"
        )
    rows = (
        LabelRow(image, tuple(name for name in kept if name in names))
        for image, names in found.items()
    )
    return LabelTable(kept, tuple(rows))
