"""What a prediction of image files is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fsr._core.checks import check_choice
from fsr.data import Reading, ReadingChanges
from fsr.inference._options import RunChanges, RunOptions
from fsr.inference._tiling import check_tiles
from fsr.segmenter import REDUCTIONS, Reduction, check_scales

# Longer side that images are shrunk to unless told otherwise.
USUAL_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class PredictionOptions(RunOptions):
    """Options of :func:`fsr.inference.predict_paths`, with those of :class:`RunOptions`.

    A CRF is called as ``crf(image, probabilities) -> probabilities`` with an RGB image
    ``(height, width, 3)`` uint8; the ``map`` of a pool gets pairs of them, on the CPU, and returns
    the refined in order.

    Args:
        labels: image-level labels where they are known, by path, name of the result, or the end of
            the path with or without suffix (``cat/1.jpg``, ``1``): class names, or multi-hot
            ``(C,)``. Classes that an image does not show cannot win a pixel. An image without an
            entry is an error of that image.
        class_names: C names for ``labels``; those of the model by default.
        scales: factors of the image size.
        reduce: how scales and flips are merged, see :meth:`fsr.SingleStageSegmenter.predict`.
        probabilities: whether results hold probabilities, at the image's own size.
        max_size: longer side in pixels that larger images are shrunk to for the network and the
            CRF; results are at the image's own size all the same. None: never.
        tile: longest side in pixels of the tiles that a larger image is cut into, which are seen at
            its own size, whatever ``max_size`` is by default; the CRF gets tile by tile. Where
            tiles overlap, their probabilities are averaged, each weighted down linearly towards its
            tile's end. None: images are seen whole.
        tile_overlap: pixels that neighbouring tiles share at least, a quarter of ``tile`` if None.
        orient: turn photographs as their EXIF data say, as viewers do; False: as stored.
        background: colour under transparent pixels.
        max_pixels: pixels that an image may have, None for Pillow's limit.
        bits: bits of pixels that have more than 8, None for what the image tells; see
            :class:`fsr.data.Reading` for these four.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option is out of range.

    Example:
        >>> PredictionOptions(scales=(1.0,), flip=False).max_size
        1024
    """

    labels: Mapping[str, Sequence[str] | Tensor] | None = None
    class_names: Sequence[str] | None = None
    scales: Sequence[float] = (1.0, 1.25, 1.5)
    reduce: Reduction = "max_logits"
    probabilities: bool = False
    max_size: int | None = USUAL_SIZE
    tile: int | None = None
    tile_overlap: int | None = None
    orient: bool = True
    background: str = "white"
    max_pixels: int | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("reduce", self.reduce, REDUCTIONS)
        check_scales("scales", self.scales)
        if check_tiles(self.tile, self.tile_overlap) and self.max_size not in (None, USUAL_SIZE):
            raise ValueError(
                f"max_size: expected None with tile, got {self.max_size}: tiles are seen at the "
                "image's own size; scales=(0.5,) makes it smaller"
            )
        self.reading()  # checks its fields

    def reading(self) -> Reading:
        """Return how the files become pictures."""
        return Reading(
            orient=self.orient,
            background=self.background,
            max_pixels=self.max_pixels,
            bits=self.bits,
        )


class PredictionChanges(RunChanges, ReadingChanges, total=False):
    """The fields of :class:`PredictionOptions` as keywords."""

    labels: Mapping[str, Sequence[str] | Tensor] | None
    class_names: Sequence[str] | None
    scales: Sequence[float]
    reduce: Reduction
    probabilities: bool
    max_size: int | None
    tile: int | None
    tile_overlap: int | None
