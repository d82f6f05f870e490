"""The one run that evaluation, prediction and export share: read, network, refine, hand out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from fsr.inference._crf_stream import refined
from fsr.inference._item import Item
from fsr.inference._loading import Read, load
from fsr.inference._options import RunOptions

# Puts a batch through the network; what is not for it passes.
Stage = Callable[[Sequence[Item]], Iterator[Item]]
# Makes one item of those of the parts of an image; what is whole passes.
Join = Callable[[Iterable[Item]], Iterator[Item]]


@dataclass(frozen=True)
class Pipeline:
    """Images by number, through reader, network and dense CRF, a few at a time.

    What cannot be used, whoever refuses it, comes out as an item that says why; what to do about
    it is for whoever takes the items. So is the rule of going on after an interruption, which is
    the same for all: settings that change a result are recorded before anything else, a run with
    others is refused, what is complete is not read again, and nothing is left half written.

    Args:
        read: reads one image.
        stage: puts a batch through the network.
        options: loader, CRF and progress.
        arrays: whether the CRF gets images as arrays.
        join: puts images together whose parts went through network and CRF.

    Example:
        >>> stage = lambda batch: (item._replace(name="seen") for item in batch)
        >>> run = Pipeline(lambda number: Item(number), stage, RunOptions())
        >>> [(item.number, item.name) for item in run.items([[3], [5, 4]], total=3)]
        [(3, 'seen'), (5, 'seen'), (4, 'seen')]
    """

    read: Read
    stage: Stage
    options: RunOptions
    arrays: bool = False
    join: Join = iter

    def items(
        self, batches: Iterable[Sequence[int]], *, total: int, done: int = 0
    ) -> Iterator[Item]:
        """Yield the images of all batches, and tell the progress once each is dealt with.

        Args:
            batches: numbers of the images that are read together.
            total: number of images in all.
            done: how many of them were dealt with before.
        """
        loaded = load(self.read, batches, self.options.num_workers)
        mapped = (item for batch in loaded for item in self.stage(batch))
        for item in self.join(refined(mapped, self.options.crf, arrays=self.arrays)):
            yield item
            done += 1
            if self.options.progress is not None:
                self.options.progress(done, total)


@contextmanager
def on_device(network: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """Move a network for a while, and back; gives where it is.

    Args:
        network: the network.
        device: where to; its own device if None.
    """
    home = next(network.parameters()).device
    try:
        network.to(home if device is None else device)
        yield next(network.parameters()).device
    finally:
        network.to(home)
