"""The built-in scenes: deterministic, as described, and mask-free where labels must suffice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsr.data import SCENE_SEEDS, Scenes


def pixels(scenes: Scenes, index: int) -> np.ndarray:
    return np.asarray(scenes[index].image)


@given(seed=st.integers(0, 1000), index=st.integers(0, 50))
def test_scene_depends_on_seed_and_index_alone(seed: int, index: int) -> None:
    first, second = Scenes(51, seed=seed, image_size=48), Scenes(99, seed=seed, image_size=48)
    for other in (3, 1):
        second[other]
    assert np.array_equal(pixels(first, index), pixels(second, index))
    assert torch.equal(first[index].labels, second[index].labels)


def test_seeds_of_the_splits_differ_and_give_different_scenes() -> None:
    assert len(set(SCENE_SEEDS)) == len(SCENE_SEEDS)
    first = {
        pixels(Scenes(5, seed=seed, image_size=32), i).tobytes()
        for seed in SCENE_SEEDS
        for i in range(5)
    }
    assert len(first) == 5 * len(SCENE_SEEDS)


def test_every_drawn_object_is_labelled_and_visible() -> None:
    for sample in map(Scenes(40, seed=5).__getitem__, range(40)):
        assert sample.target is not None
        present = {int(c) + 1 for c in sample.labels.nonzero()}
        areas = {int(c): int((sample.target == c).sum()) for c in sample.target.unique()}
        assert set(areas) == present | {0}
        assert min(areas.values()) >= 40


def test_without_masks_nothing_but_the_mask_changes() -> None:
    plain, masked = Scenes(8, seed=9, masks=False), Scenes(8, seed=9)
    for index in range(8):
        assert plain[index].target is None
        assert np.array_equal(pixels(plain, index), pixels(masked, index))
        assert torch.equal(plain[index].labels, masked[index].labels)


def test_scenes_hold_one_to_three_classes_evenly() -> None:
    scenes = Scenes(300, seed=11, image_size=32, masks=False)
    labels = torch.stack([scenes[i].labels for i in range(300)])
    assert set(labels.sum(1).int().tolist()) == {1, 2, 3}
    share = labels.mean(0)
    assert share.max() < 1.5 * share.min()


def test_objects_overlap_in_a_good_part_of_the_scenes() -> None:
    touching = 0
    for sample in map(Scenes(60, seed=12, image_size=48).__getitem__, range(60)):
        assert sample.target is not None
        left, right = sample.target[:, :-1], sample.target[:, 1:]
        touching += int(((left != right) & (left > 0) & (right > 0)).sum() > 3)
    assert 10 <= touching <= 45


def test_single_object_form_of_pretraining() -> None:
    scenes = Scenes(30, seed=SCENE_SEEDS.pretrain, objects=(1, 1), masks=False, image_size=48)
    assert all(scenes[i].labels.sum() == 1 for i in range(30))


def test_larger_images_show_the_same_layout() -> None:
    small, large = Scenes(3, seed=2, image_size=48), Scenes(3, seed=2, image_size=96)
    for index in range(3):
        a, b = small[index].target, large[index].target
        assert a is not None
        assert b is not None
        assert torch.equal(small[index].labels, large[index].labels)
        assert (a == b[::2, ::2]).float().mean() > 0.97


def test_iteration_ends() -> None:
    assert len(list(Scenes(3, seed=0, image_size=32))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected a positive integer, got 0"),
        ({"image_size": 31}, "image_size: expected at least 32 pixels, got 31"),
        ({"objects": (2, 1)}, r"objects: expected 1 <= fewest <= most <= 6, got \(2, 1\)"),
        ({"objects": (0, 1)}, "objects: expected 1 <= fewest"),
        ({"objects": (1, 7)}, "objects: expected 1 <= fewest"),
    ],
)
def test_bad_options_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(**{"size": 1, "seed": 0, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [-1, 2])
def test_index_outside_is_named(index: int) -> None:
    with pytest.raises(IndexError, match="index: expected 0 <= index < 2"):
        Scenes(2, seed=0)[index]
