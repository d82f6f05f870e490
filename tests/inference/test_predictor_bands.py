"""Predictions of networks of other bands than red, green and blue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fsr
from fsr.cli import main
from fsr.data import read_label_map
from fsr.errors import DataError
from fsr.inference import Predictor
from fsr.refine import DenseCRF
from fsr.segmenter import SingleStageSegmenter
from tests.helpers import assert_same

TINY: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
BANDS = 5
MEAN, STD = [900.0, 800.0, 700.0, 600.0, 500.0], [300.0, 250.0, 200.0, 150.0, 100.0]


def scene(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 2000, (height, width, BANDS)).astype(np.uint16)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8},
        backbone_options={**TINY, "in_chans": BANDS, "mean": MEAN, "std": STD},
    )
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_(std=0.5)
    path = tmp_path_factory.mktemp("bands") / "model.safetensors"
    model.save(path, class_names=("field", "water"))
    return path


@pytest.fixture(scope="module")
def predictor(file: Path) -> Predictor:
    return fsr.load(file, device="cpu", scales=(1.0,), flip=False)


def test_values_are_normalised_as_they_are(predictor: Predictor, tmp_path: Path) -> None:
    values = scene(30, 41)
    bands = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)
    mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (MEAN, STD))
    expected = predictor.model.predict(((bands - mean) / std)[None], scales=(1.0,), flip=False)[0]
    np.save(tmp_path / "a.npy", values)
    for given in (values, bands, tmp_path / "a.npy", values.astype(np.float64)):
        found = predictor(given, probabilities=True)
        assert_same(found.probabilities, expected, rtol=1e-4, atol=1e-6)
        assert found.mask.shape == (30, 41)
    batch = predictor(np.stack([values, values]))
    assert_same(batch[1].mask, found.mask)


def test_large_scenes_are_shrunk_or_tiled(predictor: Predictor) -> None:
    values = scene(64, 112)
    assert predictor(values, max_size=64).mask.shape == (64, 112)
    tiled = predictor(values, tile=64, tile_overlap=16, probabilities=True)
    assert_same(tiled.mask, tiled.probabilities.argmax(dim=0))
    left = predictor(values[:, :64], probabilities=True).probabilities
    # Up to where the other tile begins.
    assert_same(tiled.probabilities[:, :, :48], left[:, :, :48], rtol=1e-4, atol=1e-6)


def test_folders_of_arrays_are_segmented_by_the_command_too(
    file: Path, predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", scene(30, 41))
    np.save(tmp_path / "in" / "b.npy", scene(24, 24, seed=1))
    (tmp_path / "in" / "a.jpg").write_text("a preview, which is left out")
    out = tmp_path / "out"
    fixed = ["--output", str(out), "--scales", "1", "--no-flip", "--device", "cpu"]
    assert main(["predict", str(file), str(tmp_path / "in"), *fixed]) == 0
    results = predictor(tmp_path / "in")
    assert [result.name for result in results] == ["a", "b"]
    for result in results:
        assert_same(read_label_map(out / "masks" / f"{result.name}.png", 2), result.mask)


def test_overlays_show_the_first_three_bands_stretched(predictor: Predictor) -> None:
    picture = predictor(scene(30, 41)).image
    assert (picture.size, picture.mode) == ((41, 30), "RGB")
    pixels = np.asarray(picture)
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((9, 9, 3)), "image: expected 5 bands, as the network takes, got 3"),
        (torch.zeros(9, 9, 5), "image: expected 5 bands, as the network takes, got 9"),
        (np.full((9, 9, 5), np.nan), "image: holds NaN or infinity"),
    ],
)
def test_other_bands_are_refused(predictor: Predictor, given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        predictor(given)


def test_a_dense_crf_needs_colours(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="crf: expected None, as a dense CRF needs red, green and"):
        predictor(scene(9, 9), crf=DenseCRF(backend="torch"))
