"""Neither pretraining nor training reads a mask: drawing one raises, and both still run."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import fsr.data._scenes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a mask was drawn")

    monkeypatch.setattr(fsr.data._scenes, "label_map", refuse)


@pytest.mark.usefixtures("no_masks")
def test_the_trap_works() -> None:
    with pytest.raises(AssertionError, match="a mask was drawn"):
        fsr.data._scenes.Scenes(1, seed=0, image_size=32)[0]


@pytest.mark.usefixtures("no_masks")
def test_pretraining_draws_no_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("einops")
    options = ["--steps", "2", "--batch", "2", "--workers", "0", "--check", "4"]
    monkeypatch.setattr(sys, "argv", ["pretrain_scenes.py", *options, "--out", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "pretrain_scenes.py"), run_name="__main__")
    assert (tmp_path / "fsr_scenes_tiny.safetensors").exists()


@pytest.mark.usefixtures("no_masks")
def test_training_data_holds_no_mask() -> None:
    pytest.importorskip("omegaconf")
    from fsr.train import build_datasets, load_config

    train_set, eval_set = build_datasets(load_config())
    assert all(train_set[index].target is None for index in range(5))
    with pytest.raises(AssertionError, match="a mask was drawn"):
        eval_set[0]
