"""Small second views made out of view 1, several in one picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr.cam import crop_maps, flip_maps, join_tiles
from fsr.errors import ShapeError
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step


class Tiles(NamedTuple):
    """Second views of a step.

    Attributes:
        pictures: ``(B / tiles**2, 3, side, side)`` as large as view 1, normalised.
        box: top, bottom, left and right of each view in patches of view 1, ``(B, 4)``.
        flips: left-right, up-down, transposed, ``(B, 3)`` boolean.
    """

    pictures: Tensor
    box: Tensor
    flips: Tensor


class TiledViews(Part):
    """Of each image of view 1 all, or a crop of whole patches, resized, mirrored, transposed.

    Args:
        tiles: rows and columns of views in one picture.
        crop: side of a crop relative to view 1.
        crop_prob: probability of a crop.
        flip: probability of each mirror, and of the transposition.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f), which draws colours anew.

    Example:
        >>> TiledViews(tiles=2).needs(0)
        Needs(student={}, teacher={}, cams=())
    """

    def __init__(
        self, tiles: int = 2, *, crop: float = 1 / 3, crop_prob: float = 0.3, flip: float = 0.5
    ) -> None:
        super().__init__()
        self.tiles, self.crop, self.crop_prob, self.flip = tiles, crop, crop_prob, flip

    def forward(self, step: Step) -> Tiles:
        """Return the views of a step.

        Raises:
            ShapeError: view 1 is not square, or tiles do not divide its images or its patches.
        """
        images = step.view(1)
        self._check(images, step.grid)
        box, flips = self._draw(step.draws.uniform(6), step.grid[0])
        side = images.shape[-1] // self.tiles
        views = crop_maps(images, box * (images.shape[-1] // step.grid[1]), (side, side))
        views = flip_maps(views, flips).to(images.dtype)
        return Tiles(join_tiles(views, (self.tiles, self.tiles)), box, flips)

    def _draw(self, chance: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        """Return boxes in patches and flips of views, by numbers ``(B, 6)`` in [0, 1)."""
        side = torch.where(chance[:, 3] < self.crop_prob, max(1, round(self.crop * grid)), grid)
        # A number of places, all as likely as each other; 1 for the whole grid.
        corner = (chance[:, 4:] * (grid - side + 1)[:, None]).long()
        top, left = corner.unbind(1)
        return torch.stack([top, top + side, left, left + side], 1), chance[:, :3] < self.flip

    def _check(self, images: Tensor, grid: tuple[int, int]) -> None:
        """Raise unless view 1 can be cut and tiled."""
        batch, _, height, width = images.shape
        if height != width or grid[0] % self.tiles:
            raise ShapeError(
                f"view1: expected square images whose patches {self.tiles} x {self.tiles} tiles "
                f"divide, got {(height, width)} of {grid} patches"
            )
        if batch % self.tiles**2:
            raise ShapeError(
                f"view1: expected a number of images that {self.tiles} x {self.tiles} tiles "
                f"divide, got {batch}"
            )


class TiledPictures(Part):
    """The pictures of second views as a view of the step.

    Args:
        views: the second views.

    Example:
        >>> TiledPictures(TiledViews()).needs(0).views
        frozenset()
    """

    def __init__(self, views: TiledViews) -> None:
        super().__init__()
        self.views = views

    def needs(self, number: int) -> Needs:
        """Return what the views read."""
        return self.views.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the pictures."""
        tiles: Tiles = step.get(self.views)
        return tiles.pictures
