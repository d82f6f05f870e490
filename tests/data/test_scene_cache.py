"""Scenes that are drawn once: the same scenes, for all processes, in no more memory than asked."""

from __future__ import annotations

import copy
import mmap
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from fsr.data import Sample, Scenes
from fsr.data._scene_cache import Kept, SceneCache
from tests.processes import FORKED


def same(one: Sample, other: Sample) -> bool:
    """Whether two samples are the same to the last bit."""
    assert (one.target is None) == (other.target is None)
    masks = one.target is None or other.target is None or torch.equal(one.target, other.target)
    images = np.array_equal(np.asarray(one.image), np.asarray(other.image))
    return images and masks and torch.equal(one.labels, other.labels) and one.name == other.name


def drawing(scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of what is drawn from now on."""
    drawn: list[int] = []
    original = scenes._draw

    def draw(index: int) -> Kept:
        drawn.append(index)
        return original(index)

    monkeypatch.setattr(scenes, "_draw", draw)
    return drawn


@pytest.mark.parametrize("masks", [True, False])
def test_scenes_are_drawn_once_and_stay_the_same(
    masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"seed": 3, "image_size": 48, "masks": masks}
    plain, kept = Scenes(4, **options), Scenes(4, **options, cache_bytes=2**20)
    drawn = drawing(kept, monkeypatch)
    for _ in range(2):
        for index in (2, 0, 3):
            assert same(kept[index], plain[index])
    assert drawn == [2, 0, 3]
    kept[0].labels.fill_(9)
    np.asarray(kept[0].image).copy()
    assert same(kept[0], plain[0])


def test_no_more_is_kept_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 4 + 6 + 3 * 32 * 32
    scenes = Scenes(3, seed=0, image_size=32, masks=False, cache_bytes=3 * each - 1)
    drawn = drawing(scenes, monkeypatch)
    for index in (0, 1, 2) * 2:
        scenes[index]
    assert drawn == [0, 1, 2, 2]
    drawn = drawing(plain := Scenes(3, seed=0, image_size=32), monkeypatch)
    assert [plain[0].name, plain[0].name] == ["scene_0_000000"] * 2
    assert drawn == [0, 0]


def draw_all(scenes: Scenes) -> None:
    for index in range(len(scenes)):
        scenes[index]


def test_what_a_worker_has_drawn_its_parent_does_not_draw_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = Scenes(3, seed=5, image_size=32, cache_bytes=2**20)
    worker = FORKED.Process(target=draw_all, args=(scenes,))
    worker.start()
    worker.join()
    drawn = drawing(scenes, monkeypatch)
    assert all(same(scenes[i], Scenes(3, seed=5, image_size=32)[i]) for i in range(3))
    assert drawn == []


def test_half_a_scene_counts_as_none() -> None:
    cache = SceneCache(1, side=2, classes=1, masks=True, limit=100)
    scene = Kept(np.full((2, 2, 3), 7, np.uint8), torch.ones(1), torch.tensor([[0, 1], [1, 0]]))
    cache.put(0, scene)
    assert cache._memory is not None
    found = cache.get(0)
    assert found is not None
    assert found.mask is not None
    assert torch.equal(found.mask, torch.tensor([[0, 1], [1, 0]]))
    cache._memory[9] ^= 1
    assert cache.get(0) is None


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda scenes: pickle.loads(pickle.dumps(scenes))]
)
def test_a_copy_begins_with_nothing_and_draws_the_same(
    copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = Scenes(2, seed=1, image_size=32, cache_bytes=2**20)
    first = scenes[0]
    other = copied(scenes)
    drawn = drawing(other, monkeypatch)
    assert same(other[0], first)
    assert same(other[0], first)
    assert drawn == [0]


def test_without_memory_scenes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    scenes = Scenes(1, seed=1, image_size=32, cache_bytes=2**20)
    assert same(scenes[0], scenes[0])


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (-1, ValueError, r"cache_bytes: expected a number in \[0, inf\], got -1"),
        (1.5, TypeError, "cache_bytes: expected an integer, got 1.5"),
    ],
)
def test_a_cache_that_cannot_be_is_named(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Scenes(1, seed=1, cache_bytes=value)
