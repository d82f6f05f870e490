"""What a run draws and counts for its report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import FolderDataset, NoisyLabels, Sample, Scenes
from fsr.train._data import First
from fsr.train._labels import class_counts
from fsr.train._maps import Shown
from fsr.train._pictures import LONGER, picture, worst_images
from fsr.visualize import voc_palette


def opened(data: str, kind: str) -> Image.Image:
    head, _, code = data.partition(",")
    assert head == f"data:image/{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(code)))


def shown(size: tuple[int, int], **maps: torch.Tensor) -> Shown:
    target = torch.zeros(size[1], size[0], dtype=torch.long)
    target[: size[1] // 2] = 2
    sample = Sample(Image.new("RGB", size, (200, 60, 10)), torch.tensor([0.0, 1.0]), target, "one")
    return Shown(sample, {"cam": torch.rand(4, 4), **maps})


def test_layers_are_label_maps_in_their_colours_and_clear_where_background_is() -> None:
    prediction = torch.full((10, 20), 1)
    prediction[:, :5] = 255
    found = picture(shown((20, 10), prediction=prediction))
    assert (found["name"], found["classes"], found["size"]) == ("one", [1], [20, 10])
    assert "pseudo" not in found  # the recipe makes none
    truth = np.asarray(opened(found["truth"], "png").convert("RGBA"))
    assert truth[0, 0].tolist() == [*voc_palette()[2].tolist(), 255]
    assert truth[9, 0, 3] == 0
    painted = np.asarray(opened(found["prediction"], "png").convert("RGBA"))
    assert painted[0, 0].tolist() == [*voc_palette()[255].tolist(), 255]
    assert painted[0, 19].tolist() == [*voc_palette()[1].tolist(), 255]
    photo = np.asarray(opened(found["image"], "jpeg")).astype(int)
    assert np.abs(photo - [200, 60, 10]).max() < 8


def test_large_pictures_are_made_small_and_small_ones_stay() -> None:
    assert picture(shown((2000, 1000)))["size"] == [LONGER, LONGER // 2]
    assert picture(shown((3000, 1)))["size"] == [LONGER, 1]
    assert picture(shown((64, 48)))["size"] == [64, 48]


def test_without_any_iou_the_worst_images_are_the_least_certain() -> None:
    detail = {"image_iou": [None, None, None], "image_certainty": [0.5, 0.1, 0.3]}
    assert worst_images(detail, 2) == [1, 2]
    assert worst_images(detail | {"image_iou": [None, 0.9, 0.2]}, 3) == [2, 1]


def test_images_are_counted_by_class_where_no_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,labels\na,cat\nb,cat;dog\nc,dog\n")
    dataset = FolderDataset(tmp_path, tmp_path / "labels.csv")
    monkeypatch.setattr(FolderDataset, "__getitem__", None)
    assert class_counts(First(dataset, None)) == [2, 2]
    assert class_counts(First(dataset, 2)) == [2, 1]
    assert class_counts(NoisyLabels(First(dataset, 2), 0.5, seed=0)) == [2, 1]  # as they were
    assert class_counts(Scenes(3, seed=0)) is None
