"""The runs on photographs: one from end to end, what its setting depends on, and its tables."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.metrics import SegmentationMetrics
from fsr.segmenter import SingleStageSegmenter

for package in ("accelerate", "omegaconf", "pydensecrf", "tqdm"):
    pytest.importorskip(package)

ENCODER = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
TINY = (
    "steps=2",
    "data.image_size=32",
    "data.batch_size=2",
    "model.backbone=vit_tiny_patch16_224",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2}",
    "model.projection_dim=8",
    "preset.mask_block=1",
    "eval.image_size=32",
    "optim.mixed_precision=null",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a folder in VOC's layout: a dog or a cat, bright on dark, three a split."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "voc"
    for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val"):
        names = [f"{split}_{number}" for number in range(3)]
        (folder / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for number, name in enumerate(names):
            mask = np.zeros((40, 48), np.uint8)
            mask[8:30, 10:34] = (8, 12, 8)[number]
            pixels = generator.integers(0, 80, (40, 48, 3)) + 150 * (mask > 0)[..., None]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg")
            Image.fromarray(mask).save(folder / "SegmentationClassAug" / f"{name}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    from safetensors.torch import save_file

    network = SingleStageSegmenter(
        20, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=ENCODER
    )
    path = tmp_path / "encoder.safetensors"
    state = network.backbone.model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def test_a_run_from_end_to_end(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("photographs")
    common = ["--root", str(root), "--weights", str(weights), "--results", str(tmp_path / "out")]
    common += ["--variants", "baseline", "--seeds", "0", "--crf", "2", "--set", *TINY]
    assert module.main(common) == 0
    (line,) = (tmp_path / "out" / "final.jsonl").read_text().splitlines()
    row = json.loads(line)
    student = row["scores"]["student"]
    shared = {"cam", "cam_best", "prediction", "prediction_all", "label_f1", "after_crf"}
    assert shared <= student.keys()
    assert student["cam_sweep"][f"{student['threshold']:g}"] == student["cam_best_all"]
    assert str(root) not in json.dumps(row["setting"])
    capsys.readouterr()
    assert module.main([*common[: -len(TINY) - 1], "--list", "--set", *TINY]) == 0
    assert "baseline  1     1/1" in capsys.readouterr().out
    assert module.main([*common[: -len(TINY) - 1], "--table", "--set", *TINY]) == 0
    assert "prediction, background and six classes" in capsys.readouterr().out


def test_where_the_files_lie_is_no_part_of_the_setting(
    root: Path, weights: Path, tmp_path: Path
) -> None:
    setting = importlib.import_module("_photograph_setting").PhotographSetting
    first = setting(root=root, weights=weights, overrides=TINY)
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert setting(root=moved, weights=weights, overrides=TINY).hash == first.hash
    assert setting(root=moved, weights=weights, overrides=TINY, crf=3).hash != first.hash


def test_the_main_score_is_the_mean_over_background_and_six_classes() -> None:
    worker = importlib.import_module("_photograph_worker")
    metrics = SegmentationMetrics(20)
    # Background half right, cat (8) right, chair (9, no main class) wrong: 1/3 (bg), 1 (cat).
    target = torch.tensor([[0, 0, 8, 8, 9]])
    prediction = torch.tensor([[0, 9, 8, 8, 0]])
    metrics.update(prediction, target)
    assert worker.main_miou(metrics.compute()) == pytest.approx((1 / 3 + 1) / 2)


def test_a_wrong_folder_is_named_with_status_2(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("photographs")
    found = module.main(["--root", str(tmp_path / "none"), "--weights", str(weights), "--list"])
    assert found == 2
    assert "photographs.py: error: " in capsys.readouterr().err
