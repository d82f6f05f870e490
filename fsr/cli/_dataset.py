"""Options that name a data set, for the commands that read one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsr.cli._photographs import add_photograph_arguments, reading_of
from fsr.cli._types import positive_int
from fsr.data import COCO2014, SCENE_SEEDS, VOC2012, FolderDataset, Scenes
from fsr.errors import DataError
from fsr.segmenter import SingleStageSegmenter

DATASETS = ("voc", "coco", "folder", "scenes")
SPLITS = {"voc": "val", "coco": "val", "scenes": "test"}


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--dataset` and where it is."""
    group = parser.add_argument_group("data set")
    group.add_argument(
        "--dataset",
        choices=DATASETS,
        required=True,
        help="VOC 2012, COCO 2014, a folder of images, or the built-in scenes (required)",
    )
    group.add_argument(
        "--root", type=Path, help="folder of the data set, or of the images (default: none)"
    )
    group.add_argument(
        "--split",
        help="voc: val, train, train_aug, ...; coco: val, train; scenes: test, tune, train, ... "
        "(default: val, of scenes test)",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="of a folder: table of image-level labels (default: none)",
    )
    group.add_argument(
        "--masks", type=Path, help="of a folder: folder of true masks (default: none)"
    )
    group.add_argument(
        "--scenes",
        type=positive_int,
        default=120,
        metavar="N",
        help="number of scenes (default: 120)",
    )
    group.add_argument(
        "--scene-size",
        type=positive_int,
        default=96,
        metavar="PIXELS",
        help="side of a scene, data.image_size of the training (default: 96)",
    )
    add_photograph_arguments(parser, usual="of a folder, not of voc and coco")


def build_dataset(
    options: argparse.Namespace, *, masks: bool, class_names: Sequence[str] | None = None
) -> Any:
    """Return the data set that the options name.

    Args:
        options: parsed options.
        masks: whether true masks are needed.
        class_names: names of the model's classes, for a folder's table.
    """
    name = options.dataset
    split: str = options.split or SPLITS.get(name, "")
    if name == "scenes":
        if split not in SCENE_SEEDS._fields:
            raise DataError(f"--split: scenes have {', '.join(SCENE_SEEDS._fields)}, got {split!r}")
        seed = getattr(SCENE_SEEDS, split)
        return Scenes(options.scenes, seed=seed, image_size=options.scene_size, masks=masks)
    if options.root is None:
        raise DataError(f"--root: expected the folder of --dataset {name}, got none")
    reading = reading_of(options)
    if name == "voc":
        return VOC2012(options.root, split, masks=masks, **reading)
    if name == "coco":
        return COCO2014(options.root, split, masks=masks, **reading)
    if options.labels is None:
        raise DataError("--labels: expected the table of --dataset folder, got none")
    return FolderDataset(
        options.root,
        options.labels,
        options.masks if masks else None,
        class_names=class_names,
        **reading,
    )


def check_classes(network: SingleStageSegmenter, dataset: Any, checkpoint: Path) -> None:
    """Raise unless the network knows the classes of the data set, in its order."""
    names = tuple(dataset.class_names)
    if network.num_classes != len(names):
        raise ValueError(
            f"{checkpoint}: a model of {network.num_classes} classes, but the data set has "
            f"{len(names)}; give the data set that it was trained on"
        )
    if network.class_names is not None and tuple(network.class_names) != names:
        pairs = zip(network.class_names, names, strict=True)
        wrong = next(index for index, (one, other) in enumerate(pairs) if one != other)
        raise ValueError(
            f"{checkpoint}: class {wrong + 1} is {network.class_names[wrong]!r}, but the data set "
            f"has {names[wrong]!r} there; give the data set that it was trained on"
        )
