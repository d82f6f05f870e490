"""Image files that are predicted, read at the size that the network gets, and their batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from fsr.data import Reading, array_of, bands_of, picture_of, read_bands
from fsr.errors import DataError
from fsr.inference._item import Item
from fsr.inference._maps import fitted, fitted_size, size_of
from fsr.inference._photographs import ImageFile
from fsr.segmenter import scaled_size

WINDOW = 256


@dataclass(frozen=True)
class Photographs:
    """Reads image files by number.

    Args:
        files: the files.
        labels: their image-level labels ``(C,)``, or why there are none; None if not known.
        patch: ``(height, width)`` of a patch in pixels.
        max_size: longer side that larger images are shrunk to, None for never.
        reading: how the files become pictures.
        tile: longest side of tiles that larger images are cut into; such an image is a batch.
        bands: bands of the network; other than three they are read as they are.
        given: pictures in memory, in place of the files'; None where a file is to be read.
    """

    files: Sequence[ImageFile]
    labels: Sequence[Tensor | str] | None
    patch: tuple[int, int]
    max_size: int | None
    reading: Reading
    tile: int | None = None
    bands: int = 3
    given: Sequence[Any] | None = None

    def __call__(self, number: int) -> Item:
        """Read one file; what cannot be used comes as an item that says why."""
        file = self.files[number]
        item = Item(number, str(file.path), file.name)
        try:
            image = self.picture(number)
            pixels = fitted(image, self.patch, self.max_size)
        except DataError as error:
            # Its message begins with the path.
            return item.refused("", error)._replace(error=str(error))
        except Exception as error:
            return item.refused(str(error) or type(error).__name__, error)
        labels = None if self.labels is None else self.labels[number]
        if isinstance(labels, str):
            return item.refused(labels)
        return item._replace(size=size_of(image), pixels=pixels, labels=labels)

    def picture(self, number: int) -> Image.Image | Tensor:
        """Return a picture as RGB, or its bands ``(bands, height, width)``.

        Raises:
            DataError: it cannot be read, or has other bands.
        """
        value = None if self.given is None else self.given[number]
        path = self.files[number].path
        if self.bands == 3:
            if value is None:
                return self.reading.image(path)
            return picture_of(value, str(path), self.reading)
        where = str(path)
        bands = read_bands(path) if value is None else bands_of(array_of(value, where), where)
        if len(bands) != self.bands:
            raise DataError(
                f"{path}: expected {self.bands} bands, as the network takes, got {len(bands)}"
            )
        return bands

    def batches(self, scales: Sequence[float], batch_size: int) -> Iterator[list[int]]:
        """Yield numbers of files whose scaled sizes coincide, from the heads of the files alone.

        Args:
            scales: factors of the image size.
            batch_size: files in a batch at most.
        """
        total = len(self.files)
        if batch_size == 1:
            yield from ([number] for number in range(total))
            return
        for start in range(0, total, WINDOW):
            groups: dict[Any, list[int]] = {}
            for number in range(start, min(start + WINDOW, total)):
                groups.setdefault(self._sizes(number, scales), []).append(number)
            yield from sorted(
                group[first : first + batch_size]
                for group in groups.values()
                for first in range(0, len(group), batch_size)
            )

    def _sizes(self, number: int, scales: Sequence[float]) -> tuple[tuple[int, int], ...]:
        """Sizes that the network sees of a picture; none if it cannot be read."""
        if self.given is not None or self.bands != 3:
            return ((number, number),)  # like no other: told only by reading it
        try:
            size = self.reading.size(self.files[number].path)
        except DataError:
            return ()
        seen = fitted_size(size, self.patch, self.max_size)
        if self.tile is not None and max(seen) > self.tile:
            return ((number, number),)
        return tuple(scaled_size(seen, scale, self.patch) for scale in scales)
