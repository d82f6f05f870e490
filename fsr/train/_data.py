"""The data sets that the trainer knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from fsr.data import (
    COCO2014,
    SCENE_SEEDS,
    VOC2012,
    FolderDataset,
    NoisyLabels,
    Sample,
    Scenes,
)
from fsr.errors import ConfigError, DataError
from fsr.train._options import Config, DataConfig, reading_options
from fsr.train._preset_options import build_method

# Of the memory for scenes that were drawn, the part of those that are trained on.
TRAIN_SHARE = 0.75


class First:
    """The first samples of a data set.

    Args:
        dataset: a data set of `fsr.data`.
        size: how many of them, None for all.
    """

    def __init__(self, dataset: Any, size: int | None) -> None:
        self.dataset = dataset
        self.class_names: tuple[str, ...] = tuple(dataset.class_names)
        self.size = len(dataset) if size is None else min(size, len(dataset))

    def __len__(self) -> int:
        return self.size

    @cached_property
    def names(self) -> Sequence[str] | None:
        """Names of the samples, None if the data set does not tell."""
        names: Sequence[str] | None = getattr(self.dataset, "names", None)
        if names is None or self.size == len(self.dataset):
            return names
        return names[: self.size]

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.dataset[index]
        return sample


def build_datasets(config: Config) -> tuple[Any, Any]:
    """Return what is trained on, without masks, and what is evaluated on.

    Args:
        config: options of the run.

    Returns:
        Two data sets of samples, see :class:`fsr.data.Sample`, with the same classes.

    Raises:
        ConfigError: scenes have no such split.
        DataError: a file cannot be used, or the two have other classes.

    Example:
        >>> from fsr.train import load_config
        >>> train, evaluation = build_datasets(load_config())
        >>> len(train), len(evaluation)
        (2000, 120)
    """
    data = config.data
    masks = wants_masks(config)
    if data.name == "scenes":
        train = _scenes(config, train=True, masks=masks)
        return _labelled(config, train), _scenes(config, train=False, masks=True)
    build = {"voc": _voc, "coco": _coco, "folder": _folder}[data.name]
    train, evaluation = build(data, data.root or "", masks)
    if tuple(train.class_names) != tuple(evaluation.class_names):
        raise DataError(
            f"data.eval_split: expected the classes of {train!r}, {evaluation!r} has others"
        )
    return _labelled(config, First(train, data.train_size)), First(evaluation, data.eval_size)


def cache_for_all(config: Config) -> int | None:
    """Return the MiB for `data.scene_cache` that keep all scenes; None if that many are given.

    Example:
        >>> from fsr.train import load_config
        >>> cache_for_all(load_config(overrides=["data.image_size=448"]))
        1532
    """
    if config.data.name != "scenes":
        return None
    scenes = _scenes(config, train=True, masks=wants_masks(config))
    if scenes.cache_bytes >= scenes.full_cache_bytes:
        return None
    return math.ceil(scenes.full_cache_bytes / TRAIN_SHARE / 2**20)


def _labelled(config: Config, train: Any) -> Any:
    """Return what is trained on with the errors in its labels that were asked for."""
    noise = config.data.label_noise
    if not noise:
        return train
    try:
        return NoisyLabels(train, noise, seed=config.seed)
    except ValueError as error:
        raise ConfigError(f"data.label_noise: {str(error).removeprefix('share: ')}") from None


def wants_masks(config: Config) -> bool:
    """Whether the true masks of the train images are learned from: of no other method."""
    labelled = (config.views.kind or build_method(config).views) == "labelled"
    return labelled and config.data.pseudo is None


def _voc(data: DataConfig, root: str, masks: bool) -> tuple[Any, Any]:
    reading = reading_options(data)
    train = VOC2012(root, data.train_split, masks=masks, **reading)
    return train, VOC2012(root, data.eval_split, **reading)


def _coco(data: DataConfig, root: str, masks: bool) -> tuple[Any, Any]:
    reading = reading_options(data)
    train = COCO2014(root, data.train_split, masks=masks, **reading)
    return train, COCO2014(root, data.eval_split, cache=data.cache, **reading)


def _folder(data: DataConfig, root: str, masks: bool) -> tuple[Any, Any]:
    labels, reading = data.labels or "", reading_options(data)
    train = FolderDataset(root, labels, data.masks if masks else None, **reading)
    names, held_out = train.class_names, data.eval_labels or labels
    return train, FolderDataset(root, held_out, data.masks, class_names=names, **reading)


def _scenes(config: Config, *, train: bool, masks: bool) -> Scenes:
    """Return scenes of a split."""
    data = config.data
    split = data.train_split if train else data.eval_split
    if split not in SCENE_SEEDS._fields:
        name = f"data.{'train' if train else 'eval'}_split"
        raise ConfigError(f"{name}: scenes have {', '.join(SCENE_SEEDS._fields)}, got {split!r}")
    size = data.train_size if train else data.eval_size
    seed = getattr(SCENE_SEEDS, split)
    share = TRAIN_SHARE if train else 1 - TRAIN_SHARE
    return Scenes(
        size or 0,
        seed=seed,
        image_size=data.image_size,
        masks=masks,
        cache_bytes=int(share * data.scene_cache * 2**20),
    )
