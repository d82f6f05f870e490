"""The trainer with the switches that are not in the paper: step, log and picture sheet."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("omegaconf")

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
