"""Masks against the labels of their images: where the two name other classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fsr.cam import BACKGROUND, ignore_label
from fsr.data._folder import FolderDataset
from fsr.data._mask_values import MaskValues, mask_hints, read_values
from fsr.data._voc import VOC2012
from fsr.errors import DataError

_NAMED = 5
_SHOWN = 20
# Boxes and masks of VOC were drawn by different people: so large a share of masks with a class
# that no box has is told, and so large a one refused.
_TOLD, _REFUSED = 0.05, 0.5


class Contradiction(NamedTuple):
    """An image whose mask and labels differ.

    Attributes:
        name: name of the image.
        labels: classes that its labels name.
        mask: classes that its mask holds.
    """

    name: str
    labels: tuple[str, ...]
    mask: tuple[str, ...]

    @property
    def unnamed(self) -> bool:
        """Whether the mask holds a class that the labels do not name."""
        return not set(self.mask) <= set(self.labels)


class MaskReport(NamedTuple):
    """What a look at the masks of a data set found.

    Attributes:
        source: where the masks are, for messages.
        compared: images whose mask and labels were compared.
        labelled: those of them whose labels name a class.
        found: the images where they differ.
        hollow: masks that hold 255 and no class.
        odd: masks whose palette puts a colour at 0 and black at a class, with that colour.
        lenient: whether some differences are in the nature of the data set.
    """

    source: str
    compared: int
    labelled: int
    found: tuple[Contradiction, ...]
    hollow: tuple[Path, ...]
    odd: tuple[MaskValues, ...]
    lenient: bool

    @property
    def table(self) -> str:
        """The differing images, a line each: name, labels, classes in the mask."""
        rows = [(each.name, _listed(each.labels), _listed(each.mask)) for each in self.found]
        shown = [("image", "labels", "mask"), *rows[:_SHOWN]]
        widths = [max(len(row[column]) for row in shown) for column in range(3)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in shown
        ]
        more = len(rows) - _SHOWN
        return "\n".join([*lines, *([f"... and {more} more"] if more > 0 else [])])

    @property
    def fault(self) -> str:
        """Why scores of these masks would mean nothing, in one line; empty if they may stand."""
        unnamed = [each for each in self.found if each.unnamed]
        without = [each for each in self.found if not set(each.mask) & set(each.labels)]
        empty = sum(bool(each.labels) for each in without)
        least = self.compared * _REFUSED if self.lenient else 0
        if len(unnamed) > least:
            return (
                f"{self.source}: {len(unnamed)} of {self.compared} masks hold a class that the "
                f"labels of their image do not name: {_spelled(unnamed)}{self._hint()}"
            )
        if self.labelled and empty == self.labelled:
            return (
                f"{self.source}: no mask holds a class that the labels of its image name, in "
                f"{empty} images with labels: {_spelled(without)}{self._hint()}"
            )
        return ""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What should be said of these masks though they are used, a line each."""
        lines = []
        unnamed = [each for each in self.found if each.unnamed]
        absent = [each for each in self.found if not set(each.labels) <= set(each.mask)]
        least = self.compared * _TOLD if self.lenient else 0
        if len(unnamed) > least:
            lines.append(
                f"in {len(unnamed)} of {self.compared} images the mask holds a class that the "
                f"labels do not name: {_spelled(unnamed)}"
            )
        if absent and (not self.lenient or len(absent) > self.compared * _REFUSED):
            lines.append(
                f"in {len(absent)} of {self.compared} images the labels name a class of which the "
                f"mask has no pixel: {_spelled(absent)}"
            )
        hints = self._hint().removeprefix("; ")
        if lines and hints:
            lines[-1] += f"; {hints}"
        elif hints:
            lines.append(hints)
        return tuple(f"{self.source}: {line}" for line in lines)

    def _hint(self) -> str:
        return "".join(f"; {line}" for line in mask_hints(self.odd, self.hollow))


def compare_masks(dataset: Any, size: int | None = None) -> MaskReport | None:
    """Compare the masks of a data set with the labels of its images.

    Masks are read, images are not. Of :class:`VOC2012` images without boxes are left out, since
    their labels come from their masks. Masks that cannot be read are left out too: whoever needs
    them says so.

    Args:
        dataset: a :class:`FolderDataset` or :class:`VOC2012` with masks.
        size: compare the first so many images, None for all.

    Returns:
        What was found; None for any other data set: masks of :class:`COCO2014` are drawn from what
        the labels come from.

    Example:
        >>> from fsr.data import Scenes
        >>> compare_masks(Scenes(3, seed=0, image_size=32)) is None
        True
    """
    paths = _mask_paths(dataset, len(dataset) if size is None else min(size, len(dataset)))
    if not paths:
        return None
    names = dataset.class_names
    found, hollow, odd = [], [], []
    compared = labelled = 0
    classes = dataset.mask_classes if isinstance(dataset, VOC2012) else None
    read = read_values(paths.values(), max_pixels=dataset.reading.max_pixels, classes=classes)
    for index, values in zip(paths, read, strict=True):
        if values.labels is None or not values.labels <= {
            *range(len(names) + 1),
            ignore_label(len(names)),
        }:
            continue
        named = dataset.load_labels(index)
        if not bool(named.isfinite().all()):
            continue
        compared += 1
        labels = tuple(names[c] for c in named.nonzero().flatten().tolist())
        mask = tuple(
            names[c - 1] for c in sorted(values.labels - {BACKGROUND, ignore_label(len(names))})
        )
        labelled += bool(labels)
        if set(labels) != set(mask):
            found.append(Contradiction(dataset.names[index], labels, mask))
            hollow += [values.path] if values.hollow else []
        odd += [values] if values.odd is not None else []
    lenient = isinstance(dataset, VOC2012)
    source = str(dataset.masks if isinstance(dataset, FolderDataset) else dataset.root)
    return MaskReport(source, compared, labelled, tuple(found), tuple(hollow), tuple(odd), lenient)


def check_masks(
    dataset: Any,
    *,
    allow: bool,
    option: str,
    size: int | None = None,
    show: Callable[[str], None] | None = None,
) -> tuple[str, ...]:
    """Raise if masks and labels contradict each other, and return what else should be said.

    Args:
        dataset: a data set with masks.
        allow: take them all the same; then what would be raised is returned.
        option: how to allow it, for the message.
        size: look at the first so many images, None for all.
        show: takes a table of the images where they differ, of several lines, before it is raised.

    Returns:
        Lines for whoever started it; none for masks as they should be.

    Raises:
        DataError: a mask holds a class that the labels of its image do not name, or no mask holds a
            class that they name; of VOC, only where most masks are like that.
    """
    report = compare_masks(dataset, size)
    if report is None:
        return ()
    if not report.fault:
        return report.doubts
    if allow:
        return (f"{report.fault}; used all the same",)
    if show is not None:
        show(report.table)
    raise DataError(f"{report.fault}; {option} uses them all the same")


def _mask_paths(dataset: Any, size: int) -> dict[int, Path]:
    """Return the masks to compare, by index."""
    if isinstance(dataset, FolderDataset):
        found = ((index, dataset.mask_path(index)) for index in range(size))
    elif isinstance(dataset, VOC2012) and dataset.masks:
        found = ((index, dataset.compared_mask(index)) for index in range(size))
    else:
        return {}
    return {index: path for index, path in found if path is not None}


def _spelled(found: Sequence[Contradiction]) -> str:
    """Name the first images with what differs."""
    shown = "; ".join(
        f"{each.name} (labels {_listed(each.labels)}, mask {_listed(each.mask)})"
        for each in found[:_NAMED]
    )
    return shown + (f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
