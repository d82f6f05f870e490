"""Large images through the network tile by tile, and the tiles' maps put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fsr.inference._item import Item
from fsr.inference._label_maps import ProbabilityStage
from fsr.inference._loading import chunks
from fsr.inference._maps import labels_at, resize_maps, restrict_to_labels
from fsr.inference._mosaic import Mosaic
from fsr.inference._tiling import plan_tiles


class TileStage:
    """Gives images the probabilities of the network; of a large one, tile by tile.

    What comes out for it is an item for each of its tiles, in order, so that whatever follows, such
    as a dense CRF, works on tiles; :func:`joined` makes one item of them.

    Args:
        stage: puts images, or tiles, through the network.
        tile: longest side of a tile.
        overlap: pixels that neighbours share at least.
        batch_size: tiles that are seen together at most.
    """

    def __init__(self, stage: ProbabilityStage, tile: int, overlap: int, batch_size: int) -> None:
        self.stage = stage
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size

    def __call__(self, batch: Sequence[Item]) -> Iterator[Item]:
        """Yield the items of a batch, those of large images once per tile."""
        small = []
        for item in batch:
            if item.pixels is not None and max(item.pixels.shape[1:]) > self.tile:
                yield from self._tiles(item)
            else:
                small.append(item)
        if small:
            yield from self.stage(small)

    def _tiles(self, item: Item) -> Iterator[Item]:
        """Yield a large image's tiles with their probabilities, up to one that is refused."""
        pixels = item.pixels
        if pixels is None:
            raise TypeError("expected an image, got None")
        high, wide = pixels.shape[1:]
        patch = self.stage.runner.network.backbone.patch_size
        tiling = plan_tiles((high, wide), self.tile, self.overlap, patch)
        if tiling is None:
            raise ValueError(f"expected an image larger than a tile, got {(high, wide)}")
        boxes = list(tiling.boxes())
        for numbers in chunks(range(len(boxes)), self.batch_size):
            parts = [pixels[:, boxes[number][0], boxes[number][1]] for number in numbers]
            tiles = [item._replace(pixels=part.contiguous(), tiling=tiling) for part in parts]
            for done in self.stage(tiles):
                yield done
                if done.error is not None:
                    return


def joined(items: Iterable[Item], *, keep: bool, within: bool) -> Iterator[Item]:
    """Make one item of the tiles of each image; others pass.

    Args:
        items: the tiles of an image follow each other.
        keep: whether probabilities are wanted.
        within: whether to keep probabilities to the image's labels once more, as after a CRF.
    """
    mosaic: Mosaic | None = None
    refused: int | None = None
    for item in items:
        if item.error is not None:
            if item.number != refused:
                yield item
            mosaic, refused = None, item.number
        elif item.tiling is None:
            yield item
        elif item.probabilities is not None and item.number != refused:
            maps = item.probabilities
            if within and item.labels is not None:
                maps = restrict_to_labels(maps, item.labels)
            if mosaic is None:
                # An image that is thinner than a patch was stretched: it is labelled afterwards.
                stretched = item.tiling.size != item.size
                mosaic = Mosaic(item.tiling, len(maps), keep=keep or stretched)
            mosaic.add(maps)
            if mosaic.complete:
                yield _whole(item, mosaic, keep)
                mosaic = None


def _whole(item: Item, mosaic: Mosaic, keep: bool) -> Item:
    """Return the item of an image whose tiles are all there, at its own size."""
    maps, labels = mosaic.probabilities, mosaic.labels
    if maps is not None and item.tiling is not None and item.tiling.size != item.size:
        labels = labels_at(maps, item.size)
        maps = resize_maps(maps, item.size)
    return item._replace(
        tiling=None, pixels=None, label_map=labels, probabilities=maps if keep else None
    )
