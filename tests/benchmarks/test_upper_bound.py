"""The recorded upper bound belongs to the default run, and its script repeats what it says."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _extra() -> None:
    pytest.importorskip("omegaconf")
    pytest.importorskip("accelerate")


def test_the_default_run_shows_the_bound_and_a_changed_one_does_not() -> None:
    from fsr.train import load_config, upper_bound

    bound = upper_bound(load_config())
    assert bound is not None
    assert upper_bound(load_config(overrides=["steps=401"])) is None
    # What the package ships is what the script found.
    recorded = ROOT / "benchmarks" / "results" / "upper_bound.json"
    assert bound == json.loads(recorded.read_text())


def test_the_bound_is_the_mean_of_the_best_rate_on_tuning_scenes() -> None:
    results = ROOT / "benchmarks" / "results"
    rows = [json.loads(line) for line in (results / "upper_bound.jsonl").read_text().splitlines()]
    assert {(row["learning_rate"], row["seed"]) for row in rows} == {
        (rate, seed) for rate in (3e-4, 1e-3, 3e-3) for seed in (0, 1, 2)
    }
    tuned = {rate: [r for r in rows if r["learning_rate"] == rate] for rate in (3e-4, 1e-3, 3e-3)}
    best = max(tuned.values(), key=lambda chosen: sum(row["tune_miou"] for row in chosen))
    bound = json.loads((results / "upper_bound.json").read_text())
    assert bound["prediction_miou"] == pytest.approx(sum(row["test_miou"] for row in best) / 3)


def test_the_script_trains_measures_and_does_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("upper_bound")
    config = tmp_path / "tiny.yaml"
    from fsr.train import CONFIGS

    default = (CONFIGS / "default.yaml").read_text()
    for old, new in (("steps: 400", "steps: 2"), ("batch_size: 8", "batch_size: 2")):
        default = default.replace(old, new, 1)
    config.write_text(default.replace("eval_size: 120", "eval_size: 2"))
    out = tmp_path / "bound.json"
    options = ["--config", str(config), "--rates", "1e-3", "--seeds", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["upper_bound.py", *options])
    module.main()
    first = json.loads(out.read_text())
    assert 0 <= first["prediction_miou"] <= 1
    assert first["for"]["steps"] == 2
    capsys.readouterr()
    module.main()
    assert "learning_rate" not in capsys.readouterr().out
