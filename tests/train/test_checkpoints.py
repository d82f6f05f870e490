"""A checkpoint is whole or it is not used: torn, flipped, mixed, half removed, or of old."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("accelerate")
pytest.importorskip("omegaconf")

from accelerate.state import PartialState

from fsr.errors import InputError, NotFiniteError, ResourceError
from fsr.train import _checkpoints, _state, load_config
from fsr.train._checkpoints import last_whole, list_checkpoints
from fsr.train._manifest import MANIFEST, MARK, checkpoint_fault
from fsr.train._resume import WRITTEN, choose_folder
from fsr.train._state import checkpoint_files, restore, save_checkpoint

FILES = checkpoint_files(["student", "objective"])
PARTS = [*FILES, MANIFEST]


class Run:
    """What a checkpoint holds, small, with steps that change all of it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        student, objective = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.modules: dict[str, nn.Module] = {"student": student, "objective": objective}
        group = {"params": list(student.parameters()), "parameter_names": ["weight", "bias"]}
        self.optimizer = torch.optim.AdamW([group], lr=0.1)

    def step(self) -> None:
        self.modules["objective"](self.modules["student"](torch.randn(4, 3))).sum().backward()
        self.optimizer.step()

    def save(self, folder: Path, step: int, keep: int = 9) -> Path:
        options: dict[str, Any] = {"modules": self.modules, "optimizer": self.optimizer}
        return save_checkpoint(folder, step, **options, state={"seconds": 1.5}, keep=keep)

    def tensors(self) -> dict[str, Any]:
        return {name: module.state_dict() for name, module in self.modules.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints, of steps 1 to 3."""
    run = Run()
    for step in (1, 2, 3):
        run.step()
        run.save(tmp_path / "checkpoints", step)
    return tmp_path / "checkpoints"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def mix(path: Path) -> None:
    shutil.copy(path.parent.parent / "step-00000001" / path.name, path)


def test_a_whole_checkpoint_gives_back_what_was_saved(folder: Path) -> None:
    run, other = Run(), Run()
    for _ in range(3):
        run.step()
    found = last_whole(folder, FILES)
    assert found.path is not None
    assert (found.path.name, found.told) == ("step-00000003", [])
    restore(found.path, modules=other.modules, optimizer=other.optimizer)
    torch.testing.assert_close(other.tensors(), run.tensors(), rtol=0, atol=0)
    assert _state.read_state(found.path)["seconds"] == 1.5
    manifest = json.loads((found.path / MANIFEST).read_text())
    assert (manifest["step"], sorted(manifest["files"])) == (3, sorted(FILES))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("damage", [cut, flip, mix, Path.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    damage: Callable[[Path], None], name: str, folder: Path
) -> None:
    damage(folder / "step-00000003" / name)
    found = last_whole(folder, FILES)
    assert found.path == folder / "step-00000002"
    (line,) = found.told
    assert line.startswith("step-00000003 is not whole (")
    assert "going on from step-00000002" in line
    assert name in line
    # It has lost the name of a whole one, and nothing of it is thrown away.
    assert names(folder) == ["damaged-step-00000003", "step-00000001", "step-00000002"]


def test_a_checkpoint_under_the_name_of_another_step_is_not_taken(folder: Path) -> None:
    shutil.copytree(folder / "step-00000001", folder / "step-00000004")
    found = last_whole(folder, FILES)
    assert found.path == folder / "step-00000003"
    assert "step-00000004 is not whole (manifest.json is of step 1)" in found.told[0]


def test_a_file_that_the_manifest_does_not_know_is_no_part_of_it(folder: Path) -> None:
    fault = checkpoint_fault(folder / "step-00000003", 3, [*FILES, "teacher.safetensors"])
    assert fault == "teacher.safetensors is missing"
    (folder / "step-00000003" / "teacher.safetensors").touch()
    fault = checkpoint_fault(folder / "step-00000003", 3, [*FILES, "teacher.safetensors"])
    assert fault == "teacher.safetensors is not in manifest.json"
    assert checkpoint_fault(folder / "step-00000003", 3, FILES) is None


def test_where_none_is_whole_all_are_named_and_left(folder: Path) -> None:
    for step, name in enumerate(("student.safetensors", MANIFEST, "state.json"), start=1):
        cut(folder / f"step-0000000{step}" / name)
    with pytest.raises(InputError) as caught:
        last_whole(folder, FILES)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{folder}: no checkpoint is whole (step-00000003: state.json has ")
    assert "step-00000001: student.safetensors has " in text
    assert "start again without --resume" in text
    assert names(folder) == ["step-00000001", "step-00000002", "step-00000003"]


def test_no_checkpoint_at_all_is_no_fault(tmp_path: Path) -> None:
    assert last_whole(tmp_path / "nowhere", FILES) == (None, [])


def _of_an_earlier_release(checkpoint: Path) -> None:
    (checkpoint / MANIFEST).unlink()
    state = json.loads((checkpoint / "state.json").read_text())
    del state[MARK]
    (checkpoint / "state.json").write_text(json.dumps(state))


def test_a_checkpoint_of_an_earlier_release_loads_with_a_line(folder: Path) -> None:
    _of_an_earlier_release(folder / "step-00000003")
    found = last_whole(folder, FILES)
    assert found.path == folder / "step-00000003"
    assert found.told == [
        "step-00000003 is of an earlier release and has no manifest: its content could not be "
        "checked"
    ]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_one_of_an_earlier_release_that_is_torn_is_not_taken(
    damage: Callable[[Path], None], name: str, folder: Path
) -> None:
    _of_an_earlier_release(folder / "step-00000003")
    damage(folder / "step-00000003" / name)
    found = last_whole(folder, FILES)
    assert found.path == folder / "step-00000002"
    assert found.told[0].startswith(f"step-00000003 is not whole ({name} ") or name == "state.json"


def test_the_oldest_loses_its_name_before_anything_of_it_is_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, **options: bool) -> None:
        if path.name.startswith(_checkpoints.REMOVED):
            next(path.glob("*.safetensors")).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            Run().save(folder, 4, keep=3)
    assert [path.name for _, path in list_checkpoints(folder)] == [
        "step-00000002",
        "step-00000003",
        "step-00000004",
    ]
    assert all(
        checkpoint_fault(path, step, FILES) is None for step, path in list_checkpoints(folder)
    )
    assert any(name.startswith(_checkpoints.REMOVED) for name in names(folder))
    last_whole(folder, FILES)
    assert not any(name.startswith(".") for name in names(folder))


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_full_disk_is_one_line_and_leaves_nothing_unfinished(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(28, os.strerror(28), str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    before = names(folder)
    with pytest.raises(ResourceError) as caught:
        Run().save(folder, 4)
    assert str(caught.value) == (
        f"{folder / 'step-00000004'}: cannot be written (No space left on device); make room "
        "there, or take another disk with run.output=FOLDER; --resume goes on from the last "
        "checkpoint"
    )
    assert names(folder) == before


@pytest.mark.parametrize("place", ["parameter", "buffer", "optimizer"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_what_is_not_finite_is_never_written(value: float, place: str, tmp_path: Path) -> None:
    run = Run()
    run.step()
    student, norm = run.modules["student"], run.modules["objective"]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_var is not None
    weight = next(student.parameters())
    tensor, told = {
        "parameter": (weight.data, "weight of the student"),
        "buffer": (norm.running_var, "running_var of the objective"),
        "optimizer": (run.optimizer.state[weight]["exp_avg"], "weight/exp_avg of the optimizer"),
    }[place]
    tensor.view(-1)[0] = value
    with pytest.raises(NotFiniteError, match=f"step 7: {told} is not finite"):
        run.save(tmp_path / "checkpoints", 7)
    assert not (tmp_path / "checkpoints").exists()


def test_large_numbers_whose_sum_overflows_are_finite(tmp_path: Path) -> None:
    run = Run()
    run.step()
    next(run.modules["student"].parameters()).data.fill_(3e38)
    assert run.save(tmp_path, 1).is_dir()


def test_another_network_or_optimizer_is_one_line_that_names_the_file(folder: Path) -> None:
    run = Run()
    others: dict[str, nn.Module] = {"student": nn.Linear(3, 5)}
    with pytest.raises(InputError, match=r"student.safetensors: cannot go on from it: Error.*size"):
        restore(folder / "step-00000003", modules=others, optimizer=run.optimizer)
    run.optimizer.param_groups[0]["parameter_names"] = ["weight", "offset"]
    with pytest.raises(InputError, match=r"optimizer.safetensors: cannot .* parameters, 'bias'"):
        restore(folder / "step-00000003", modules=run.modules, optimizer=run.optimizer)


def test_what_a_killed_run_left_unfinished_is_taken_away(tmp_path: Path) -> None:
    config = load_config(overrides=[f"run.output={tmp_path}"])
    left = [tmp_path / f".{name}.9999999" for name in WRITTEN]
    kept = tmp_path / ".notes"
    for path in (*left, kept):
        path.write_text("half")
    assert choose_folder(config, main=True, resume=True) == tmp_path
    PartialState._reset_state()
    assert [path for path in left if path.exists()] == []
    assert kept.exists()
