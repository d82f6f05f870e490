"""Tables of Hugging Face `datasets`, and what looks like one, as data sets."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fsr.data import HuggingFaceDataset, StepBatches, ViewStream
from fsr.errors import DataError
from fsr.inference import evaluate
from tests.cli.helpers import noise, tiny_network


class Names:
    """As `datasets.ClassLabel`."""

    names = ("cat", "dog")


class Listed:
    """As a list of class labels."""

    feature = Names


class Table(list[dict[str, Any]]):
    """As `datasets.Dataset`."""

    def __init__(self, rows: list[dict[str, Any]], **features: Any) -> None:
        super().__init__(rows)
        self.features, self.column_names = features, list(features)


def row(labels: Any = 0, image: Any = None, **more: Any) -> dict[str, Any]:
    return {"image": image or noise(6, 8), "labels": labels, **more}


@pytest.mark.parametrize(
    ("feature", "names", "labels", "expected"),
    [
        (Names, None, 1, [0, 1]),
        (Listed, None, [0, 1], [1, 1]),
        ([Names], None, [], [0, 0]),
        (None, ("a", "b", "c"), ["c"], [0, 0, 1]),
        (None, ("a", "b", "c"), "b", [0, 1, 0]),
    ],
)
def test_numbers_and_names_one_or_several_are_labels(
    feature: Any, names: Any, labels: Any, expected: list[float]
) -> None:
    table = Table([row(labels)], image=None, labels=feature)
    data = HuggingFaceDataset(table, class_names=names)
    assert data.class_names == (names or ("cat", "dog"))
    assert data[0].labels.tolist() == expected
    assert len(data) == 1


def test_images_of_any_mode_and_masks_are_read_under_other_names() -> None:
    grey = Image.new("LA", (8, 6), (90, 0))
    mask = Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 2)
    rows = [{"photo": grey, "kind": 1, "mask": mask}] * 11
    data = HuggingFaceDataset(
        Table(rows, photo=None, kind=Names, mask=None), image="photo", labels="kind", masks="mask"
    )
    sample = data[-1]
    assert sample.name == "10"
    assert data.names[0] == "00"
    assert sample.image.mode == "RGB"
    assert sample.image.getpixel((0, 0)) == (255, 255, 255)
    assert sample.target is not None
    assert torch.equal(sample.target, torch.eye(6, 8, dtype=torch.int64) * 2)
    assert [each.name for each in data] == list(data.names)
    with pytest.raises(IndexError):
        data[11]


def test_a_table_is_scored_as_any_data_set_is() -> None:
    masks = [Image.fromarray(np.full((16, 24), value, dtype=np.uint8)) for value in (0, 1)]
    rows = [row([0], noise(16, 24, number), mask=masks[number]) for number in range(2)]
    data = HuggingFaceDataset(Table(rows, image=None, labels=Listed, mask=None), masks="mask")
    result = evaluate(tiny_network(data.class_names), data, scales=(1.0,), flip=False)
    assert 0 < result.prediction_miou < 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(2)], "row 0: column 'labels': expected classes from 0 to 1 or their names, got 2"),
        ([row(-1)], "row 0: column 'labels': .* got -1"),
        ([row(["cow"])], "row 0: column 'labels': .* got 'cow'"),
        ([row(None)], "row 0: column 'labels': .* got None"),
        ([row(0.0)], "row 0: column 'labels': .* got 0.0"),
        ([row(0, {"bytes": b""})], "row 0: column 'image': expected a picture, got dict; .*cast_"),
        ([row(mask=noise(6, 8))], "row 0: column 'mask': expected a mask of one channel"),
        ([row(mask=Image.new("L", (4, 4)))], "column 'mask': .* image's size .8, 6., got mode L"),
        ([row(mask=Image.new("L", (8, 6), 3))], "column 'mask': expected labels in 0..2 or 255"),
    ],
)
def test_rows_that_cannot_be_used_are_named(rows: list[dict[str, Any]], message: str) -> None:
    masks = "mask" if "mask" in rows[0] else None
    table = Table(rows, image=None, labels=Names, mask=None)
    with pytest.raises(DataError, match=message):
        HuggingFaceDataset(table, masks=masks)[0]


def test_tables_that_cannot_be_used_are_told() -> None:
    with pytest.raises(TypeError, match=r"table: expected a datasets.Dataset, one split of a data"):
        HuggingFaceDataset({"train": Table([])})
    table = Table([], image=None, labels=None)
    for column in ("image", "labels", "masks"):
        with pytest.raises(ValueError, match=rf"{column}: expected a column .*\(image, labels\)"):
            HuggingFaceDataset(table, **{column: "photo"})
    with pytest.raises(DataError, match="the column 'labels' has no names of classes; give class_"):
        HuggingFaceDataset(table)
    with pytest.raises(DataError, match="look alike"):
        HuggingFaceDataset(table, class_names=("a", "A"))


def test_tables_of_the_package_itself_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for number in range(3):
        noise(6, 8, number).save(tmp_path / f"{number}.png")
    columns = {
        "image": [str(tmp_path / f"{number}.png") for number in range(3)],
        "labels": [[0], [1, 0], []],
    }
    several = datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))
    features = datasets.Features({"image": datasets.Image(), "labels": several})
    data = HuggingFaceDataset(datasets.Dataset.from_dict(columns, features=features))
    assert data.class_names == ("cat", "dog")
    assert [sample.labels.tolist() for sample in data] == [[1, 0], [1, 1], [0, 0]]
    assert np.array_equal(np.asarray(data[1].image), np.asarray(noise(6, 8, 1)))
    assert repr(data) == repr(data)


def test_shards_of_tars_are_drawn_from_as_a_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for number in (2 * shard, 2 * shard + 1):
                picture = io.BytesIO()
                noise(6, 8).save(picture, "PNG")
                labels = json.dumps({"labels": [number % 2, 2]}).encode()
                for ending, content in (("png", picture.getvalue()), ("json", labels)):
                    info = tarfile.TarInfo(f"{number:06}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    files = {"train": str(tmp_path / "*.tar")}
    table = datasets.load_dataset(
        "webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    names = ("cat", "dog", "owl")
    data = HuggingFaceDataset(table.flatten(), image="png", labels="json.labels", class_names=names)
    assert [sample.labels.tolist() for sample in data] == [[1, 0, 1], [0, 1, 1]] * 2
    stream = ViewStream(data, lambda image: torch.tensor(image.size), seed=0)
    loader = DataLoader(stream, batch_sampler=StepBatches(2, steps=2))
    assert sum(labels.sum(0) for _, labels in loader).tolist() == [2, 2, 4]


def test_streams_are_refused() -> None:
    class Stream:
        features, column_names = {"image": None, "labels": Names}, ["image", "labels"]

    with pytest.raises(TypeError, match=r"table: expected a datasets\.Dataset, .* got Stream"):
        HuggingFaceDataset(Stream())
