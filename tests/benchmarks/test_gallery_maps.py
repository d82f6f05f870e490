"""The recorded maps of the gallery: what is in the file, and how it is made."""

from __future__ import annotations

from pathlib import Path

import gallery_maps
import numpy as np
import pytest
from gallery_maps import NAMES, RESULTS, SCENES, main
from methods import ROWS

from fsr import SingleStageSegmenter


def small(path: Path) -> None:
    """Write a network for the scenes."""
    model = SingleStageSegmenter(6, "fsr_scenes_tiny", image_size=96, projection_dim=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def test_the_file_holds_maps_of_all_scenes_for_known_methods() -> None:
    found = np.load(RESULTS)
    methods = {name.removesuffix(" cam") for name in found if name.endswith(" cam")}
    assert methods
    assert methods <= set(NAMES)
    for name in found:
        if name.endswith(" steps"):
            assert found[name] >= 1
            continue
        assert found[name].shape == (len(SCENES), 96, 96)
        assert found[name].dtype == np.uint8
        assert found[name].max() == 255
    assert RESULTS.stat().st_size < 500_000


def test_every_name_is_a_row_of_the_table_of_methods() -> None:
    assert set(NAMES.values()) <= set(ROWS)


def test_a_method_is_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def train(folder: Path, steps: int, *_: object) -> None:
        trained.append((folder.name, steps))
        small(folder / "student.safetensors")

    monkeypatch.setattr(gallery_maps, "train", train)
    monkeypatch.setattr(gallery_maps, "SCENES", range(1))
    results = tmp_path / "maps.npz"
    asked = ["--steps", "3", "--methods", "FSR", "SEAM", "--results", str(results)]
    assert main(asked) == main(asked) == 0
    assert trained == [("FSR", 3), ("SEAM", 3)]
    found = np.load(results)
    assert set(found) == {"FSR cam", "FSR steps", "SEAM cam", "SEAM steps"}
    assert found["FSR cam"].shape == (1, 96, 96)
