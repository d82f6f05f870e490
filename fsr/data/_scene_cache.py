"""Scenes that were drawn, kept in memory that a process shares with those that it starts."""

from __future__ import annotations

import mmap
import os
import weakref
import zlib
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bytes of the check sum at the head of a place; 0 is an empty place's.
_SUM = 4


class Kept(NamedTuple):
    """A scene as it is kept.

    Attributes:
        image: ``(side, side, 3)`` uint8.
        labels: multi-hot image-level labels, ``(C,)`` float32.
        mask: label map ``(side, side)`` int64, or None where none is drawn.
    """

    image: NDArray[np.uint8]
    labels: Tensor
    mask: Tensor | None


class SceneCache:
    """Memory for the first scenes of a data set, as many as a limit allows.

    A process shares it with the workers that it starts, on Linux however they are started,
    elsewhere if they are forked: what one of them has drawn no other draws again. Each place has
    the check sum of what it holds, so that one that is being written, or was left half written,
    counts as empty. The system gives memory for the places that are used alone. A copy, and a
    pickle, begin with an empty one.

    Args:
        scenes: number of scenes of the data set.
        side: side of the square images in pixels.
        classes: number C of foreground classes.
        masks: whether there are label maps.
        limit: most bytes to take.

    Attributes:
        places: scenes that can be kept.

    Example:
        >>> cache = SceneCache(9, side=2, classes=1, masks=False, limit=40)
        >>> cache.places, cache.get(0)
        (2, None)
        >>> cache.put(0, Kept(np.ones((2, 2, 3), np.uint8), torch.ones(1), None))
        >>> cache.get(0).labels
        tensor([1.])
    """

    def __init__(self, scenes: int, *, side: int, classes: int, masks: bool, limit: int) -> None:
        self._shape, self._classes, self._masks = (side, side, 3), classes, masks
        self._bytes = scene_bytes(side, classes=classes, masks=masks)
        self.places = min(scenes, limit // self._bytes)
        self._file: int | None = None
        self._open(_memory_file())

    def _open(self, file: int | None) -> None:
        """Map the memory of a file, or memory without a name; where there is none, none is used."""
        self._memory: mmap.mmap | None = None
        size = self.places * self._bytes
        try:
            if file is not None:
                weakref.finalize(self, os.close, file)
                os.ftruncate(file, size)
            if size:
                self._memory = mmap.mmap(-1 if file is None else file, size)
                self._file = file
        except (OSError, MemoryError):
            self._memory = None

    def get(self, index: int) -> Kept | None:
        """Return a scene that was drawn, or None."""
        if self._memory is None or index >= self.places:
            return None
        start = index * self._bytes
        found = self._memory[start : start + self._bytes]
        told, held = found[:_SUM], found[_SUM:]
        if told == bytes(_SUM) or told != _sum_of(held):
            return None
        pixels = np.frombuffer(held, np.uint8, offset=self._classes)
        side, count = self._shape[0], int(np.prod(self._shape))
        mask = None
        if self._masks:
            labels = pixels[count:].reshape(side, side).astype(np.int64)
            mask = torch.from_numpy(labels)
        there = np.frombuffer(held, np.uint8, self._classes).astype(np.float32)
        return Kept(pixels[:count].reshape(self._shape), torch.from_numpy(there), mask)

    def put(self, index: int, scene: Kept) -> None:
        """Keep a scene, if there is a place for it."""
        if self._memory is None or index >= self.places:
            return
        held = scene.labels.numpy().astype(np.uint8).tobytes() + scene.image.tobytes()
        if scene.mask is not None:
            held += scene.mask.numpy().astype(np.uint8).tobytes()
        start = index * self._bytes
        self._memory[start : start + self._bytes] = _sum_of(held) + held

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory out, but for a process that is being started."""
        shared: Any = None
        if self._file is not None and get_spawning_popen() is not None:
            from multiprocessing.reduction import DupFd

            shared = DupFd(self._file)
        return {**self.__dict__, "_memory": None, "_file": shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the memory of the process that started this one, or begin with empty memory."""
        shared = state["_file"]
        self.__dict__.update(state, _file=None)
        self._open(_memory_file() if shared is None else shared.detach())


def scene_bytes(side: int, *, classes: int, masks: bool) -> int:
    """Return the bytes that a scene takes: check sum, labels, pixels and label map.

    Example:
        >>> scene_bytes(448, classes=6, masks=False)
        602122
    """
    return _SUM + classes + side * side * (4 if masks else 3)


def _memory_file() -> int | None:
    """Return a file that is in memory alone, which can be handed to other processes, or None."""
    create = getattr(os, "memfd_create", None)  # of Linux
    try:
        return create and create("fsr-scenes")
    except OSError:
        return None


def _sum_of(held: bytes) -> bytes:
    """Return a check sum that is not that of an empty place."""
    return (zlib.crc32(held) or 1).to_bytes(_SUM, "little")
