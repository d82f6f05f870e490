"""Training in loops of other packages, ten small steps each: Lightning's module, Accelerate."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fsr import SingleStageSegmenter
from tests.examples.test_examples import load_example

STEPS = 10


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Both set the seeds of the process."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def options(folder: Path, **more: Any) -> argparse.Namespace:
    return argparse.Namespace(
        steps=STEPS, batch_size=2, image_size=32, workers=0, output=folder, **more
    )


def check_teacher(path: Path, student: SingleStageSegmenter) -> None:
    """The teacher was saved with the names of the classes, and has moved after its student."""
    teacher = SingleStageSegmenter.load(path / "teacher.safetensors")
    assert teacher.class_names == student.class_names is not None
    moved = [
        not torch.equal(mine, other)
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True)
    ]
    assert any(moved)


def test_the_loop_of_accelerate_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("accelerate")
    script = load_example("accelerate_loop")
    teacher = script.train(options(tmp_path, rate=1e-3, precision="no", cpu=True))
    assert re.fullmatch(rf"step {STEPS}: loss \d+\.\d+\n", capsys.readouterr().out)
    saved = SingleStageSegmenter.load(tmp_path / "teacher.safetensors")
    assert torch.equal(saved.classifier.weight, teacher.module.classifier.weight)


def test_the_module_of_lightning_trains_and_its_teacher_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    script = load_example("lightning_module")
    seen: list[int] = []
    update = script.EMATeacher.update

    def watched(teacher: Any, student: Any, step: int = 0) -> None:
        seen.append(step)
        update(teacher, student, step)

    monkeypatch.setattr(script.EMATeacher, "update", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few workers, and of no logger
        module = script.train(options(tmp_path, accelerator="cpu", devices=1))
    assert seen == list(range(STEPS))
    assert module.objective.student is module.student
    check_teacher(tmp_path, module.student)


@pytest.mark.parametrize("name", ["accelerate_loop", "lightning_module"])
def test_a_loop_has_at_most_140_lines(name: str) -> None:
    path = Path(__file__).parents[2] / "examples" / f"{name}.py"
    assert 60 <= len(path.read_text().splitlines()) <= 140
