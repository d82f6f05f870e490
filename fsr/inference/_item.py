"""One image on its way through a run: what was read, then its maps, or why there is nothing."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fsr._core.outputs import is_full
from fsr.errors import DataError, OutputError
from fsr.inference._made_of import Made
from fsr.inference._tiling import Tiling


class Scores(NamedTuple):
    """What an evaluation counts of an image, all on the network's device.

    Attributes:
        logits: class logits ``(1, C)``.
        prediction: labels ``(1, height, width)`` at the target's size; None without a target or a
            decoder.
        cams: by layer the highest score and its class, ``(1, height, width)`` each.
        pseudo_label: pseudo label ``(1, height, width)``, 255 where it is undecided.
    """

    logits: Tensor
    prediction: Tensor | None = None
    cams: dict[str, tuple[Tensor, Tensor]] = {}  # noqa: RUF012  # never changed in place
    pseudo_label: Tensor | None = None


class Item(NamedTuple):
    """An image on its way; a stage passes on what is not for it.

    Attributes:
        number: its place among the samples or files.
        where: what messages call it.
        name: name of the sample or of its files.
        size: height and width of the image as it came.
        pixels: RGB ``(3, h, w)`` uint8 as the network or the CRF sees it.
        image: the same normalised, where the reader does that.
        labels: multi-hot image-level labels ``(C,)``, where they are known.
        target: true label map at the image's own size.
        probabilities: ``(C + 1, h, w)``.
        label_map: label map ``(h, w)``.
        certainty: how far its labels hold, ``(h, w)`` uint8, 255 wholly.
        scores: what an evaluation counts.
        tiling: of which tiling this is the next tile; None for a whole image.
        made: what its result is made of.
        kept: whether its result is there already, so that nothing was read.
        error: why there is nothing.
        full: whether that is because nothing more can be written, whatever the image.
        trace: the traceback of that error.
    """

    number: int
    where: str = ""
    name: str | None = None
    size: tuple[int, int] = (0, 0)
    pixels: Tensor | None = None
    image: Tensor | None = None
    labels: Tensor | None = None
    target: Tensor | None = None
    probabilities: Tensor | None = None
    label_map: Tensor | None = None
    certainty: Tensor | None = None
    scores: Scores | None = None
    tiling: Tiling | None = None
    made: Made | None = None
    kept: bool = False
    error: str | None = None
    full: bool = False
    trace: str = ""

    def refused(self, message: str, cause: BaseException | None = None) -> Item:
        """Return what is left of an image that cannot be used: its name and the reason."""
        lines = [] if cause is None else traceback.format_exception(cause)
        error = f"{self.where}: {message}"
        bare = Item(self.number, self.where, self.name, made=self.made)
        return bare._replace(error=error, full=is_full(cause), trace="".join(lines))


class ErrorElsewhere(Exception):
    """The traceback of an error that came as a value, perhaps from another process."""

    def __str__(self) -> str:
        return "\n" + "".join(self.args)


def raise_error(item: Item) -> None:
    """Raise the error of an item, if it has one.

    Raises:
        DataError: the item has an error.
        OutputError: that error is of a full disk.
    """
    if item.error is not None:
        kind = OutputError if item.full else DataError
        raise kind(item.error) from (ErrorElsewhere(item.trace) if item.trace else None)


def of_one_size(items: Sequence[Item]) -> list[list[Item]]:
    """Group items by the shape of their images, in order where sizes allow."""
    groups: dict[tuple[int, ...], list[Item]] = {}
    for item in items:
        if item.image is not None:
            groups.setdefault(tuple(item.image.shape), []).append(item)
    return list(groups.values())
