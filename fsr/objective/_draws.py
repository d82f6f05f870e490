"""Random numbers of a step that are the same for an image however its batch is split."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.transfer import to_device


class Place(NamedTuple):
    """Where the images of one forward stand in the batch that a step is split into.

    Attributes:
        first: number of the first of them, from 0.
        total: images of the step, over all processes and micro-batches.
        generator: of the same seed in all parts of the step; None: torch's global state.
    """

    first: int
    total: int
    generator: torch.Generator | None = None


class Draws:
    """Draws numbers for the images of one forward.

    They are drawn for all images of the step, and those of these images are kept: with generators
    of one seed, all parts of a split batch together have the numbers of the whole one.

    Args:
        images: of this forward.
        device: where the numbers are wanted.
        generator: source of the draw, on any device, where there is no place; torch's global state
            by default.
        place: where the images stand, with a generator of its own; None: they are the whole batch.

    Example:
        >>> def draw(images, place):
        ...     generator = torch.Generator().manual_seed(0)
        ...     place = Place(*place, generator)
        ...     return Draws(images, torch.device("cpu"), place=place).uniform(3)
        >>> torch.equal(draw(4, (0, 4))[2:], draw(2, (2, 4)))
        True
    """

    def __init__(
        self,
        images: int,
        device: torch.device,
        generator: torch.Generator | None = None,
        place: Place | None = None,
    ) -> None:
        self.images, self.device = images, device
        self.place = Place(0, images, generator) if place is None else place

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers in [0, 1), ``(images, *shape)``."""
        first, total, generator = self.place
        # A generator draws on its own device only: move the numbers, so that any will do.
        source = self.device if generator is None else generator.device
        drawn = torch.rand(total, *shape, generator=generator, device=source)
        return to_device(drawn[first : first + self.images], self.device)
