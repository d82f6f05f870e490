"""The data sets that the trainer knows, and the two views of an image that it trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from train_config import Config, ConfigError

from fsr.data.sample import Sample
from fsr.data.scenes import SCENE_SEEDS, Scenes


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

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.dataset[index]
        return sample


def build_datasets(config: Config) -> tuple[Any, Any]:
    """Return what is trained on and what is evaluated on."""
    data = config.data
    if data.name == "scenes":
        return _scenes(config, train=True), _scenes(config, train=False)
    from fsr.data import VOC2012

    train = VOC2012(data.root, split=data.train_split)
    return First(train, data.train_size), First(
        VOC2012(data.root, split=data.eval_split), data.eval_size
    )


def _scenes(config: Config, *, train: bool) -> Scenes:
    """Return scenes of a split; those to train on hold no masks."""
    data = config.data
    split = data.train_split if train else data.eval_split
    if split not in SCENE_SEEDS._fields:
        name = f"data.{'train' if train else 'eval'}_split"
        raise ConfigError(f"{name}: scenes have {', '.join(SCENE_SEEDS._fields)}, got {split!r}")
    size = data.train_size if train else data.eval_size
    seed = getattr(SCENE_SEEDS, split)
    return Scenes(size or 0, seed=seed, image_size=data.image_size, masks=not train)


class TrainingViews:
    """Two views of an image as normalised tensors.

    Args:
        views: a `fsr.data.TwoViews`.
    """

    def __init__(self, views: Any) -> None:
        self.views = views

    def __call__(self, image: Any) -> tuple[Any, Any]:
        return self.views(image), self.views(image)


def build_views(config: Config, mean: Sequence[float], std: Sequence[float]) -> TrainingViews:
    import torch
    from torchvision.transforms import v2

    return TrainingViews(
        v2.Compose(
            [
                v2.RandomResizedCrop(config.data.image_size, scale=config.views.scale),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
            ]
        )
    )
