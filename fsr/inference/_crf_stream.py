"""The one stream through a dense CRF: image by image, or by an object that works ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from torch import Tensor

from fsr.inference._item import Item


class CRFMap(Protocol):
    """A dense CRF that works on many images at a time, such as a pool of processes."""

    def map(self, pairs: Iterable[tuple[Any, Any]], /) -> Iterable[Tensor]:
        """Refined probabilities of every (image, probabilities), in order."""
        ...


CRF = Callable[[Any, Any], Tensor] | CRFMap


def refined(items: Iterable[Item], crf: CRF | None, *, arrays: bool = False) -> Iterator[Item]:
    """Put images through a dense CRF, in order; without one they pass as they are.

    An image that the CRF refuses comes out with an error that names it, and the rest goes on.

    Args:
        items: those with probabilities go through the CRF, the others pass.
        crf: called with an RGB image ``(height, width, 3)`` uint8 and probabilities, or an object
            with ``map``, which gets pairs of them on the CPU.
        arrays: whether the image is given as an array, not as a tensor.

    Raises:
        RuntimeError: a worker process of a pool died, or ``map`` gave too few results. What the
            stream of items itself raises passes through.
    """
    if crf is None:
        yield from items
        return
    many: Any = getattr(crf, "map", None)
    if many is not None:
        yield from _Ahead(items, many, arrays).refined()
        return
    one: Any = crf
    for item in items:
        if item.probabilities is None:
            yield item
            continue
        try:
            maps = one(*_pair(item, arrays))
        except Exception as error:
            yield _refused(item, error)
        else:
            yield _after_crf(item, maps)


class _Ahead:
    """Items whose probabilities an object with ``map`` refines while the next ones are made."""

    def __init__(self, items: Iterable[Item], many: Any, arrays: bool) -> None:
        self.items = iter(items)
        self.many = many
        self.arrays = arrays
        # What was drawn and is not out yet, with the pair that the CRF got of it.
        self.waiting: deque[tuple[Item, tuple[Any, Any] | None]] = deque()
        self.broken = False

    def refined(self) -> Iterator[Item]:
        """Yield all items; after a refusal the stream is begun anew with what was not drawn."""
        while True:
            try:
                for maps in self.many(self._pairs()):
                    yield from self._passing()
                    yield _after_crf(self.waiting.popleft()[0], maps)
            except Exception as error:
                drawn = any(pair is not None for _, pair in self.waiting)
                if self.broken or not drawn or _died(error):
                    raise
                yield from self._one_by_one()
                continue
            yield from self._passing()
            if self.waiting:
                raise RuntimeError("crf: expected a result of map for every image, got fewer")
            return

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """Draw items and yield what the CRF gets of them."""
        while True:
            try:
                item = next(self.items, None)
            except Exception:
                self.broken = True
                raise
            if item is None:
                return
            if item.probabilities is None:
                self.waiting.append((item, None))
                continue
            pixels, maps = _pair(item._replace(probabilities=item.probabilities.cpu()), self.arrays)
            self.waiting.append((item._replace(pixels=None, probabilities=None), (pixels, maps)))
            yield pixels, maps

    def _passing(self) -> Iterator[Item]:
        """Yield the items that are next and not for the CRF."""
        while self.waiting and self.waiting[0][1] is None:
            yield self.waiting.popleft()[0]

    def _one_by_one(self) -> Iterator[Item]:
        """Yield all that waits, each alone: a stream does not tell which image it failed at."""
        while self.waiting:
            item, pair = self.waiting.popleft()
            if pair is None:
                yield item
                continue
            try:
                (maps,) = self.many([pair])
            except Exception as error:
                if _died(error):
                    raise
                # A pool wraps the error of the CRF to name a position in the stream.
                cause = error.__cause__ if isinstance(error, RuntimeError) else None
                yield _refused(item, cause or error)
            else:
                yield _after_crf(item, maps)


def _died(error: BaseException) -> bool:
    """Tell whether a worker process died, which no image answers for."""
    return isinstance(error, BrokenProcessPool) or isinstance(error.__cause__, BrokenProcessPool)


def _refused(item: Item, error: BaseException) -> Item:
    """Return an item that the CRF refused."""
    return item.refused(f"dense CRF: {type(error).__name__}: {error}", error)


def _pair(item: Item, arrays: bool) -> tuple[Any, Tensor]:
    """What a dense CRF gets of an image."""
    if item.pixels is None or item.probabilities is None:
        raise TypeError("expected an image and its probabilities, got None")
    image = item.pixels.permute(1, 2, 0).contiguous()
    if arrays:
        return image.cpu().numpy(), item.probabilities
    return image.to(item.probabilities.device), item.probabilities


def _after_crf(item: Item, maps: Tensor) -> Item:
    """Take the refined probabilities."""
    return item._replace(pixels=None, probabilities=maps)
