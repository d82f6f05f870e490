"""The trainer with the switches that are not in the paper: step, log and picture sheet."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("omegaconf")

from fsr.presets import LOSS_TERMS
from tests.train.test_train import (
    _arguments,
    _fresh_accelerate,  # noqa: F401
    _losses,
    main,
    tiny,  # noqa: F401
)


@pytest.mark.parametrize("switch", ["preset.mask_strategy=entropy", "preset.mask_thresholds=otsu"])
def test_a_run_with_switches_trains_and_draws_its_sheet(
    switch: str,
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    more = ["preset.mask_ratio_start=0.1", "preset.uncertain_boundary_weight=1.0"]
    more += ["run.sheet_images=1", switch]
    assert main(_arguments(tiny, tmp_path / "run", *more)) == 0
    steps = _losses(tmp_path / "run")
    expected = "entropy" if "entropy" in switch else "uncertain"
    assert (steps[0]["mask_strategy"], steps[-1]["mask_strategy"]) == ("random", expected)
    # Of 16 patches, ceil(0.1 * 16) at the first step and ceil(0.4 * 16) at the last.
    assert (steps[0]["masked"], steps[-1]["masked"]) == (2 / 16, 7 / 16)
    assert all(step["uncertain"] < float("inf") for step in steps)
    assert (tmp_path / "run" / "sheet.png").is_file()


def test_a_run_with_the_further_switches_trains_and_logs_their_terms(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    more = [
        "preset.momentum_memories=20",
        "preset.uncertain_form=smooth_l1",
        "preset.cam_consistency_weight=0.05",
        "preset.pseudo_thresholds=mixture",
        "preset.segmentation_from=0",
        "preset.cam_affinity=2",
        "preset.relations_weight=0.5",
        "preset.relations_backbone=fsr_scenes_tiny",
        "run.tensorboard=true",
    ]
    assert main(_arguments(tiny, tmp_path / "run", *more)) == 0
    steps = _losses(tmp_path / "run")
    assert {step["momentum"] for step in steps} == {math.exp(-20 / 12)}
    # Of 12 steps of which each keeps a fifth of the teacher, it is sound after four.
    assert [step["cam_consistency"] > 0 for step in steps] == [False] * 4 + [True] * 8
    assert all(step["relations"] > 0 for step in steps)
    assert all(0 <= step["pseudo_low"] < step["pseudo_high"] <= 1 for step in steps)
    last = steps[-1]
    total = sum(weight * last[term] for term, weight in last["weights"].items())
    assert last["total"] == pytest.approx(total, rel=1e-4)


def test_a_run_without_them_has_the_columns_it_had(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert main(_arguments(tiny, tmp_path / "run", "steps=2")) == 0
    for step in _losses(tmp_path / "run"):
        assert tuple(step["weights"]) == LOSS_TERMS
        assert not {"cam_consistency", "relations", "pseudo_low", "pseudo_high"} & set(step)
