"""What a mask holds, seen without the network: its labels, and the palette that it was drawn in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fsr.cam import BACKGROUND, IGNORE
from fsr.data._opening import open_image
from fsr.data._voc_classes import VocClasses
from fsr.data._voc_masks import read_voc_mask

_THREADS = 4
_NAMED = 5
_BLACK = (0, 0, 0)


class MaskValues(NamedTuple):
    """What a mask holds.

    Attributes:
        path: the file.
        labels: the labels of its pixels, background and ignore among them; None if it cannot be
            read, as whoever needs it will say.
        odd: the colour of label 0 in its palette, where that is a colour and another label that it
            holds is black: such a palette was not made for labels. None otherwise.
    """

    path: Path
    labels: frozenset[int] | None
    odd: tuple[int, ...] | None = None

    @property
    def hollow(self) -> bool:
        """Whether it holds 255 and no class, as masks drawn in black and white do."""
        return self.labels is not None and IGNORE in self.labels <= {BACKGROUND, IGNORE}


def read_values(
    paths: Iterable[Path], *, max_pixels: int | None = None, classes: VocClasses | None = None
) -> list[MaskValues]:
    """Read what masks hold, several at once.

    Args:
        paths: mask files.
        max_pixels: pixels that a mask may have, see :class:`fsr.data.Reading`.
        classes: what labels and colours stand for, for masks of colours.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> Image.new("L", (4, 3), 2).save(path)
        >>> [values.labels for values in read_values([path])]
        [frozenset({2})]
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda path: _read(path, max_pixels, classes), paths))


def mask_hints(odd: Sequence[MaskValues], hollow: Sequence[Path]) -> Iterator[str]:
    """Say what is odd about masks, a line for each kind.

    Args:
        odd: those whose palette puts a colour at 0 and black at a class.
        hollow: those that hold 255 and no class.
    """
    if odd:
        yield (
            f"index 0 of the palette of {_files([each.path for each in odd])} is not black but "
            f"{odd[0].odd}, and a class is black: label {BACKGROUND} is background whatever its "
            "colour; class c of the list is label c"
        )
    if hollow:
        yield (
            f"{_files(hollow)} hold{'s' if len(hollow) == 1 else ''} {BACKGROUND} and {IGNORE} "
            f"alone: {IGNORE} is not scored; write class c of the list as label c"
        )


def _read(path: Path, max_pixels: int | None, classes: VocClasses | None) -> MaskValues:
    try:
        if classes is not None and (classes.colours or not classes.indexed):
            mask = read_voc_mask(path, classes, max_pixels=max_pixels)
            return MaskValues(path, frozenset(np.unique(mask.numpy()).tolist()))
        with open_image(path, max_pixels) as image:
            bands, palette = len(image.getbands()), image.getpalette()
            pixels = np.asarray(image)
    except Exception:  # Pillow's readers raise any kind, and the reader of the masks names it
        return MaskValues(path, None)
    if bands != 1:
        return MaskValues(path, None)
    if pixels.dtype == np.uint8:
        labels = frozenset(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist())
    else:
        labels = frozenset(int(value) for value in np.unique(pixels))
    return MaskValues(path, labels, _odd(labels, palette or []))


def _odd(labels: frozenset[int], palette: list[int]) -> tuple[int, ...] | None:
    """Return the colour of label 0 if the palette puts black at another label of the mask."""
    colours = [tuple(palette[begin : begin + 3]) for begin in range(0, len(palette) - 2, 3)]
    if not colours or len(set(colours[0])) == 1:
        return None
    black = {label for label, colour in enumerate(colours) if colour == _BLACK}
    return colours[0] if labels & black - {BACKGROUND, IGNORE} else None


def _files(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_NAMED])
    return shown + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
