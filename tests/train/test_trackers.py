"""MLflow and W&B: what they are given, what happens without them, and when they fail."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from fsr.errors import ConfigError
from fsr.train import Loading, load_config, read_log, run
from fsr.train import _trackers as trackers
from fsr.train._recorder import Recorder
from fsr.train._waiting import Waiting
from tests.train.test_train import TINY, _fresh_accelerate  # noqa: F401


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """A run of four steps that is evaluated at its end, without a tracker yet."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    output = f"run.output={tmp_path / 'run'}"
    return load_config(path, overrides=["steps=4", "run.log_every=2", output])


class Spy:
    """Stands in for a tracker of Accelerate."""

    made: list[Spy] = []  # noqa: RUF012

    def __init__(self, project: str, **options: Any) -> None:
        self.project, self.options = project, options
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.config: dict[str, Any] = {}
        self.finished = False
        self.tracker = type("Own", (), {"id": "abc"})
        Spy.made.append(self)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def spied(config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The run with W&B, for which the spy stands in."""
    import accelerate.tracking

    Spy.made.clear()
    monkeypatch.setattr(accelerate.tracking, "WandBTracker", Spy)
    config.run.tracker = "wandb"
    return config


def test_a_tracker_is_given_options_steps_and_scores_and_gone_on_with(
    spied: Any, tmp_path: Path
) -> None:
    scores = run(spied)
    assert json.loads((tmp_path / "run" / "tracker.json").read_text()) == {"wandb": "abc"}
    run(spied, resume=True)
    spy, second = Spy.made
    assert spy.project == "fsr"
    assert spy.options == {
        "name": "run",
        "dir": str(tmp_path / "run"),
        "id": None,
        "resume": "allow",
    }
    assert spy.config["optim.lr"] == 6e-05
    assert spy.config["data.name"] == "scenes"
    assert [step for step, _ in spy.logged] == [2, 4, 4, 4]
    record = list(read_log(tmp_path / "run" / "log.jsonl"))[1]
    assert spy.logged[0][1]["loss/total"] == record["total"]
    assert spy.logged[2][1]["student/label_f1"] == scores["student"]["label_f1"]
    assert spy.finished
    # The same run of the tracker: its options are there already.
    assert (second.options["id"], second.config, second.logged) == ("abc", {}, [])


@pytest.mark.parametrize("when", ["__init__", "log"])
def test_a_tracker_that_fails_is_told_once_and_left(
    when: str, spied: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the server is\ngone")

    monkeypatch.setattr(Spy, when, fail)
    told: list[str] = []
    waiting = Waiting(Loading(workers=0, gpu=False, cores=1))
    scores = {"student": {"cam_miou": None, "prediction_miou": None, "label_f1": 0.5}}
    recorder = Recorder(tmp_path, spied, waiting, start=0, main=True, tell=told.append)
    with recorder:
        for step in (1, 2):
            recorder.evaluation(step, scores, 1.0, {})
    warned = [line for line in told if "run.tracker" in line]
    assert warned == [
        "WARNING: run.tracker: wandb failed (the server is gone); going on without it"
    ]


def test_one_that_is_not_installed_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run\.tracker: mlflow is not installed: pip install"):
        load_config(overrides=["run.tracker=mlflow"])
    with pytest.raises(ConfigError, match=r"run\.tracker: expected null, mlflow or wandb, got 'x'"):
        load_config(overrides=["run.tracker=x"])


def _numbers(scores: dict[str, Any]) -> float:
    return float(scores["student"]["label_f1"])


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_keeps_a_run_in_a_file_of_its_own(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    config.run.tracker = "mlflow"
    scores = run(config)
    number = json.loads((tmp_path / "run" / "tracker.json").read_text())["mlflow"]
    client = mlflow.MlflowClient()
    kept = client.get_run(number)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["optim.lr"] == "6e-05"
    assert kept.data.metrics["student/label_f1"] == pytest.approx(_numbers(scores))
    assert [m.step for m in client.get_metric_history(number, "loss/total")] == [2, 4]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_keeps_a_run_offline(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config.run.tracker = "wandb"
    told: list[str] = []
    run(config, tell=told.append)
    assert not [line for line in told if "failed" in line]
    folders = [*(tmp_path / "run" / "wandb").glob("offline-run-*")]
    assert len(folders) == 1
    assert list(folders[0].glob("*.wandb"))
