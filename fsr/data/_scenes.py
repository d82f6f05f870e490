"""Built-in scenes: images drawn on the fly from a seed, with image-level labels for training.

Every object has a small *emblem* that alone tells its class and a larger *body* that it shares with
one other class, so that only context decides whose body a patch belongs to. Bodies overlap, thin
and round distractors and a textured background surround them: class activation maps learned from
image labels light up the emblem first and fade over the body, as they do on photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fsr._core.arguments import check_int
from fsr._core.checks import check_between, check_positive_int
from fsr.data._sample import Sample
from fsr.data._scene_cache import Kept, SceneCache, scene_bytes
from fsr.data._scene_canvas import SCENE_CLASSES, Canvas, label_map


class SceneSeeds(NamedTuple):
    """Seeds of the built-in splits; scenes of different seeds share no random number."""

    pretrain: int = 101
    pretrain_check: int = 111
    train: int = 202
    tune: int = 303
    test: int = 404


SCENE_SEEDS = SceneSeeds()


class Scenes:
    """Data set of drawn scenes with 6 classes; item ``i`` depends on the seed and ``i`` alone.

    Args:
        size: number of scenes.
        seed: seed of the split, see :data:`SCENE_SEEDS`.
        image_size: side of the square image in pixels, at least 32.
        objects: smallest and largest number of objects in a scene.
        masks: give label maps for evaluation. With ``False`` they are not even drawn and
            ``Sample.target`` is None: training and pretraining use this form.
        cache_bytes: memory for scenes that were drawn, the first ones of the data set, so that they
            are drawn once; 0 draws every time. Processes that are forked, as those of a loader on
            Linux, share it.

    Raises:
        ValueError: ``size``, ``image_size``, ``objects`` or ``cache_bytes`` is out of range.
        IndexError: an index is outside the data set.

    Example:
        >>> scenes = Scenes(4, seed=0, image_size=64)
        >>> sample = scenes[0]
        >>> sample.image.size, sample.labels.shape, sample.target.shape
        ((64, 64), torch.Size([6]), torch.Size([64, 64]))
        >>> sample.labels.nonzero().flatten().tolist(), sample.target.unique().tolist()
        ([0, 2], [0, 1, 3])
    """

    class_names: tuple[str, ...] = tuple(name for name, *_ in SCENE_CLASSES)

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        image_size: int = 96,
        objects: tuple[int, int] = (1, 3),
        masks: bool = True,
        cache_bytes: int = 0,
    ) -> None:
        check_positive_int("size", size)
        check_positive_int("image_size", image_size)
        if image_size < 32:
            raise ValueError(f"image_size: expected at least 32 pixels, got {image_size}")
        if not isinstance(objects, (tuple, list)) or len(objects) != 2:
            raise TypeError(f"objects: expected two integers (fewest, most), got {objects!r}")
        for number in objects:
            check_int("objects", number)
        if not 1 <= objects[0] <= objects[1] <= len(SCENE_CLASSES):
            raise ValueError(
                f"objects: expected 1 <= fewest <= most <= {len(SCENE_CLASSES)}, got {objects}"
            )
        check_int("cache_bytes", cache_bytes)
        check_between("cache_bytes", cache_bytes, 0, float("inf"))
        self._cache = SceneCache(
            size,
            side=image_size,
            classes=len(SCENE_CLASSES),
            masks=masks,
            limit=cache_bytes,
        )
        self.cache_bytes = cache_bytes
        self.size = size
        self.seed = seed
        self.image_size = image_size
        self.objects = objects
        self.masks = masks

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.size

    @property
    def full_cache_bytes(self) -> int:
        """The ``cache_bytes`` that keep all of the scenes."""
        classes = len(SCENE_CLASSES)
        return self.size * scene_bytes(self.image_size, classes=classes, masks=self.masks)

    @cached_property
    def names(self) -> list[str]:
        """Names of the scenes; none is drawn for it."""
        return [self._name(index) for index in range(self.size)]

    def _name(self, index: int) -> str:
        return f"scene_{self.seed}_{index:06d}"

    def __repr__(self) -> str:
        split = next(
            (name for name, seed in SCENE_SEEDS._asdict().items() if seed == self.seed), ""
        )
        named = f"split={split!r}, " if split else ""
        masks = "" if self.masks else ", masks=False"
        return (
            f"Scenes({self.size}, {named}seed={self.seed}, image_size={self.image_size}, "
            f"objects={tuple(self.objects)}{masks})"
        )

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Return scene ``index``, drawn now or before."""
        if not 0 <= index < self.size:
            raise IndexError(f"index: expected 0 <= index < {self.size}, got {index}")
        scene = self._cache.get(index)
        if scene is None:
            scene = self._draw(index)
            self._cache.put(index, scene)
        return Sample(Image.fromarray(scene.image), scene.labels, scene.mask, self._name(index))

    def _draw(self, index: int) -> Kept:
        """Draw scene ``index``."""
        rng = np.random.default_rng([self.seed, index])
        canvas = Canvas(rng, self.image_size)
        canvas.background()
        count = int(rng.integers(self.objects[0], self.objects[1] + 1))
        drawn = canvas.objects(count)
        labels = torch.zeros(len(SCENE_CLASSES))
        labels[[c for c, _ in drawn]] = 1.0
        mask = label_map(drawn, self.image_size) if self.masks else None
        image = (canvas.image * 255 + 0.5).clip(0, 255).astype(np.uint8)
        return Kept(image, labels, mask)
