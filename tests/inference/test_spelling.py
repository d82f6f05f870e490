"""Nothing that is written into results holds an address, and what differs is spelled otherwise."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import fsr.data
import fsr.inference
import fsr.refine
from fsr._core.spelled import describe
from fsr.data import (
    COCO2014,
    VOC2012,
    FolderDataset,
    HuggingFaceDataset,
    NoisyLabels,
    RandomRescaleCrop,
    Reading,
    ReadingChanges,
    Scenes,
    StepBatches,
    TwoViews,
    ViewStream,
)
from tests.cli.helpers import noise


class Table(list[Any]):
    """Rows that have what `datasets.Dataset` has."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is a data set of every layout."""
    place = tmp_path_factory.mktemp("data")
    for name in ("JPEGImages", "ImageSets/Segmentation", "masks", "annotations", "train2014"):
        (place / name).mkdir(parents=True)
    (place / "val2014").mkdir()
    noise(12, 16).save(place / "JPEGImages" / "a.jpg")
    noise(12, 16).convert("L").point(lambda value: value % 2).save(place / "masks" / "a.png")
    for split in ("train", "val"):
        (place / f"ImageSets/Segmentation/{split}.txt").write_text("a\n")
        box = {"segmentation": [[0, 0, 4, 0, 4, 4]], "area": 8, "bbox": [0, 0, 4, 4]}
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 16, "height": 12}],
            "categories": [{"id": 3, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0, **box}],
        }
        (place / f"annotations/instances_{split}2014.json").write_text(json.dumps(content))
    for name in ("labels", "others"):
        (place / f"{name}.csv").write_text("image,labels\na.jpg,cat\n")
    return place


def variants(place: Path) -> dict[type, list[Any]]:
    """Objects of every public data set and stream, no two of which give the same samples."""
    table = partial(FolderDataset, place / "JPEGImages", place / "labels.csv")
    scenes = partial(Scenes, seed=404, image_size=32)
    first, second = scenes(2), scenes(3)
    views = TwoViews(32)
    columns = ["image", "labels", "tags", "mask"]
    features = dict.fromkeys(columns)
    rows = Table()
    rows.__dict__ |= {"column_names": columns, "features": features, "_fingerprint": "1a2b"}
    return {
        VOC2012: [VOC2012(place, split) for split in ("train", "val")],
        COCO2014: [COCO2014(place, split) for split in ("train", "val")],
        FolderDataset: [
            table(),
            table(place / "masks"),
            table(orient=False),
            FolderDataset(place / "JPEGImages", place / "others.csv"),
        ],
        Scenes: [
            first,
            second,
            scenes(2, seed=303),
            scenes(2, seed=7),
            scenes(2, image_size=64),
            scenes(2, objects=(1, 2)),
            scenes(2, masks=False),
        ],
        HuggingFaceDataset: [
            HuggingFaceDataset(rows, class_names=("cat", "dog")),
            HuggingFaceDataset(rows, class_names=("cat", "dog"), labels="tags"),
            HuggingFaceDataset(rows, class_names=("cat", "dog"), masks="mask"),
            HuggingFaceDataset(rows, class_names=("dog", "cat")),
        ],
        NoisyLabels: [
            NoisyLabels(first, 0.1),
            NoisyLabels(first, 0.2),
            NoisyLabels(first, 0.1, seed=1),
            NoisyLabels(second, 0.1),
        ],
        ViewStream: [
            ViewStream(first, views),
            ViewStream(second, views),
            ViewStream(first, views, seed=1),
            ViewStream(first, RandomRescaleCrop(8)),
            ViewStream(first, views, whole=True),
        ],
        StepBatches: [
            StepBatches(2, steps=3),
            StepBatches(2, steps=4),
            StepBatches(2, steps=3, start=1),
            StepBatches(2, steps=3, accumulation=2),
        ],
        TwoViews: [views, TwoViews(64)],
        RandomRescaleCrop: [RandomRescaleCrop(8), RandomRescaleCrop(16)],
    }


def test_every_public_data_set_spells_what_its_samples_depend_on(place: Path) -> None:
    made = variants(place)
    # What is made of data and is none itself.
    public = {
        value
        for name in fsr.data.__all__
        if inspect.isclass(value := getattr(fsr.data, name))
        and not issubclass(value, tuple)
        and not getattr(value, "_is_protocol", False)
        and value not in (Reading, ReadingChanges)
    }
    assert set(made) == public
    for kind, objects in made.items():
        spelled = [repr(one) for one in objects]
        assert all(text.startswith(f"{kind.__name__}(") for text in spelled), spelled
        assert len(set(spelled)) == len(spelled), spelled
        assert not any(" at 0x" in text for text in spelled), spelled
        assert spelled == [describe(one) for one in objects]


def test_scenes_spell_split_seed_and_number() -> None:
    assert repr(Scenes(2, seed=303, image_size=64)) == (
        "Scenes(2, split='tune', seed=303, image_size=64, objects=(1, 3))"
    )
    assert repr(Scenes(2, seed=5, masks=False)) == (
        "Scenes(2, seed=5, image_size=96, objects=(1, 3), masks=False)"
    )


def test_every_public_option_spells_itself() -> None:
    names = [name for name in fsr.inference.__all__ if name.endswith(("Options", "Source"))]
    assert len(names) >= 6
    for name in names:
        kind = getattr(fsr.inference, name)
        given = (fsr.refine.PAR(),) if name == "PseudoLabelOptions" else ()
        assert " at 0x" not in repr(kind(*given)), name


def test_every_public_refinement_spells_itself() -> None:
    built: dict[str, Callable[[], Any]] = {
        "DenseCRF": lambda: fsr.refine.DenseCRF(backend="torch"),
        "PAR": fsr.refine.PAR,
    }
    for name, build in built.items():
        assert describe(build()).startswith(f"{name}("), name


def test_what_has_no_words_of_its_own_is_named_without_its_address() -> None:
    class Crop:
        def __call__(self, image: Any) -> Any:
            return image

    assert describe(Crop()).endswith("Crop")
    assert describe(Crop().__call__).endswith("Crop.__call__")
    assert describe([Crop()]) == "builtins.list"
    assert describe(partial(torch.add, 2, alpha=3)).endswith("add(2, alpha=3, ...)")
    assert describe(partial(describe, Crop())).endswith("Crop, ...)")
    assert " at 0x" not in describe(partial(dict, [Crop()], key=Crop()))
