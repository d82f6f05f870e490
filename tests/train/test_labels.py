"""What a run says of its labels and masks before the first step, and what it refuses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from fsr.data import write_label_map
from fsr.train import Config, load_config
from fsr.train._checks import check_same_run
from fsr.train._data import build_datasets
from fsr.train._inputs import look_over


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photographs: cat is in all of them, cow in none, dog in some; with masks."""
    (tmp_path / "photos").mkdir()
    rows = ["image,cat,dog,cow"]
    for number in range(4):
        Image.new("RGB", (8, 6)).save(tmp_path / "photos" / f"{number}.png")
        mask = torch.zeros(6, 8, dtype=torch.long)
        mask[0], mask[1] = 1, 2 * (number % 2)
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_label_map(tmp_path / "masks" / f"{number}.png", mask)
        rows.append(f"{number}.png,1,{number % 2},0")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def config(root: Path, *overrides: str) -> Config:
    options = [f"data.root={root / 'photos'}", f"data.labels={root / 'labels.csv'}", *overrides]
    return load_config("folder", overrides=options)


def looked(chosen: Config) -> tuple[str, tuple[str, ...]]:
    return look_over(chosen, *build_datasets(chosen))


def test_classes_of_every_training_image_and_of_none_are_named(photos: Path) -> None:
    fault, lines = looked(config(photos, f"data.masks={photos / 'masks'}"))
    assert fault == ""
    assert len(lines) == 2
    assert lines[0].startswith("every one of the 4 training images has 'cat': ")
    assert lines[1].startswith("none of the 4 training images has 'cow': ")


def test_only_images_that_are_trained_on_count(photos: Path) -> None:
    _, lines = looked(config(photos, "data.train_size=1"))
    assert lines[1].startswith("none of the 1 training images has 'dog', 'cow'")
    _, lines = looked(config(photos, "data.train_size=2", "data.label_noise=0.5"))
    assert lines[0].startswith("every one of the 2 training images has 'cat': ")


def test_even_classes_are_not_spoken_of(photos: Path) -> None:
    text = "image,cat,dog\n0.png,1,0\n1.png,0,1\n2.png,1,1\n3.png,0,0\n"
    (photos / "labels.csv").write_text(text)
    assert looked(config(photos)) == ("", ())
    scenes = load_config("default", "smoke")
    assert looked(scenes) == ("", ())


def test_masks_that_contradict_labels_stop_a_run_unless_allowed(photos: Path) -> None:
    write_label_map(photos / "masks" / "2.png", torch.full((6, 8), 3))
    masks = f"data.masks={photos / 'masks'}"
    fault, lines = looked(config(photos, masks))
    assert "1 of 4 masks hold a class that the labels of their image do not name" in fault
    assert "2 (labels cat, mask cow)" in fault
    assert fault.endswith("data.allow_contradictions=true uses them all the same")
    assert lines == ()
    fault, lines = looked(config(photos, masks, "data.allow_contradictions=true"))
    assert fault == ""
    assert lines[2].endswith("used all the same")
    assert looked(config(photos, masks, "data.eval_size=2"))[0] == ""
    assert looked(config(photos))[0] == "", "without masks there is nothing to contradict"


def test_a_run_may_go_on_with_masks_allowed(photos: Path) -> None:
    before = asdict(config(photos))
    del before["data"]["allow_contradictions"]
    check_same_run(config(photos, "data.allow_contradictions=true"), before)
