"""Output folders of the commands: full, unwritable, taken, interrupted, old."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fsr._core.alone import alone_in
from fsr.cli import main
from fsr.cli._signals import ended_by_signals
from fsr.data import Scenes
from tests.cli.helpers import noise, tiny_network, write_images

FAST = ("--scales", "1", "--no-flip", "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    tiny_network(Scenes.class_names).save(path)
    return path


def commands(checkpoint: Path, place: Path, out: Path) -> dict[str, list[str]]:
    scenes = ("--dataset", "scenes", "--scenes", "3", "--scene-size", "32")
    every = {
        "predict": (place / "in", *FAST),
        "export": (*scenes, "--images", "none", *FAST),
        "evaluate": (*scenes, "--cam-scales", "1", *FAST),
    }
    return {
        name: [name, str(checkpoint), *map(str, more), "--output", str(out)]
        for name, more in every.items()
    }


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("predict", "settings.json"),
        ("export", "settings.json"),
        ("evaluate", "counts.safetensors"),
    ],
)
def test_no_room_at_all_is_one_line_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    out = tmp_path / "out"
    with files_of_at_most(200):
        assert main(commands(checkpoint, tmp_path, out)[name]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"fsr {name}: error: {out / file}: cannot be written: File too large; raise the limit on "
        "the size of a file (ulimit -f) and run the same command again"
    )
    assert [path for path in out.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["predict", "export", "evaluate"])
def test_an_output_that_is_a_file_is_found_before_the_network_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        assert main(commands(tmp_path / "none", tmp_path, out)[name]) == 1
        assert capsys.readouterr().err == (
            f"fsr {name}: error: {out}: expected a folder, but {tmp_path / 'file'} is a file; "
            "name another place\n"
        )
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["predict", "export", "evaluate"])
def test_an_output_that_may_not_be_written_is_found_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(commands(tmp_path / "none", tmp_path, tmp_path)[name]) == 1
    assert capsys.readouterr().err == (
        f"fsr {name}: error: {tmp_path}: cannot be written; "
        "make it writable or name another place\n"
    )


@pytest.mark.parametrize("name", ["predict", "export", "evaluate"])
def test_a_folder_that_another_run_writes_to_is_left_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    with alone_in(tmp_path / "out"):
        assert main(commands(checkpoint, tmp_path, tmp_path / "out")[name]) == 1
    assert "another run (process" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    number: int,
) -> None:
    write_images(tmp_path / "in", [(16, 16)] * 3)
    save = Image.Image.save

    def end(self: Image.Image, path: Any, *more: Any, **options: Any) -> None:
        save(self, path, *more, **options)
        if "01.png" in Path(path).name:
            signal.raise_signal(number)

    before = signal.signal(number, signal.SIG_DFL)  # ignored where tests run under nohup
    request.addfinalizer(lambda: signal.signal(number, before))
    command = commands(checkpoint, tmp_path, tmp_path / "out")["predict"]
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", end)
        assert main(command) == 130
    assert "fsr predict: interrupted; --resume goes on" in capsys.readouterr().err
    assert list((tmp_path / "out").rglob(".*")) == []
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["00.png"]
    assert main([*command, "--resume"]) == 0
    assert "3 images, 1 of them done before" in capsys.readouterr().out


def test_signals_that_are_ignored_or_handled_stay_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    done = threading.Event()

    def elsewhere() -> None:
        with ended_by_signals():
            done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done.is_set()


def test_predict_resumes_only_what_still_holds(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16)] * 4)
    out = tmp_path / "out"
    command = commands(checkpoint, tmp_path, out)["predict"]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    noise(16, 16, 77).save(tmp_path / "in" / "00.png")  # another photograph of that name
    (out / "masks" / "01.png").write_bytes(before["01.png"][:40])
    (out / "masks" / "02.png").write_bytes(b"")
    (out / "masks" / ".03.png.9999999").write_bytes(b"half")
    assert main([*command, "--resume"]) == 0
    assert "4 images, 1 of them done before" in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    assert {name for name in before if after[name] != before[name]} == {"00.png"}
    assert sorted(after) == sorted(before)
    assert main([*commands(checkpoint, tmp_path, tmp_path / "fresh")["predict"]]) == 0
    assert (tmp_path / "fresh/masks/00.png").read_bytes() == after["00.png"]


def test_a_full_disk_ends_a_prediction_after_a_few(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path / "in", [(16, 16)] * 6)
    out = tmp_path / "out"
    save = Image.Image.save

    def full(self: Image.Image, path: Any, *more: Any, **options: Any) -> None:
        if "00.png" not in Path(path).name:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, *more, **options)

    command = commands(checkpoint, tmp_path, out)["predict"]
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        assert main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"fsr predict: error: {out / 'masks' / '03.png'}: cannot be written: No space left on "
        "device; make space there and run the same command again "
        "(the last of 3 in a row: the run ends here)"
    )
    assert [path.name for path in (out / "masks").iterdir()] == ["00.png"]
    assert main([*command, "--resume"]) == 0
    assert "6 images, 1 of them done before" in capsys.readouterr().out


def test_settings_that_are_no_object_are_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text("[]")
    for name in ("predict", "export"):
        assert main(commands(checkpoint, tmp_path, tmp_path / "out")[name]) == 1
        assert capsys.readouterr().err.startswith(
            f"fsr {name}: error: {tmp_path / 'out' / 'settings.json'}: expected a JSON object"
        )


# -- evaluation -----------------------------------------------------------------------------------


def test_scores_of_scenes_are_the_same_file_twice(checkpoint: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        command = commands(checkpoint, tmp_path, tmp_path / name)["evaluate"]
        assert main([*command, "--crf", "torch"]) == 0
        text = (tmp_path / name / "results.json").read_text()
        assert " at 0x" not in text
        content = json.loads(text)
        del content["options"]["output"]
        found.append(content)
        assert os.listdir(tmp_path / name) == ["results.json"]
    assert found[0] == found[1]
    assert found[0]["data"] == ("Scenes(3, split='test', seed=404, image_size=32, objects=(1, 3))")
    assert len(found[0]["data_sha256"]) == 64


def test_scores_of_another_run_do_not_stand_where_new_ones_would(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [*commands(checkpoint, tmp_path, out)["evaluate"], "--sweep"]
    assert main(command) == 0
    before = (out / "results.json").read_text()
    draw = Scenes.__getitem__

    def broken(self: Scenes, index: int) -> Any:
        if index == 2:
            raise OSError("broken")
        return draw(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Scenes, "__getitem__", broken)
        for _ in range(2):
            assert main(command) == 1
            assert os.listdir(out) == ["results.before.json"]
    assert (out / "results.before.json").read_text() == before
    assert main(command[:-1]) == 0
    assert os.listdir(out) == ["results.json"]


def test_counts_are_of_the_same_images_labels_and_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_network(("cat", "dog")).save(tmp_path / "model.safetensors")
    write_images(tmp_path / "in", [(16, 16)] * 2)
    write_images(tmp_path / "masks", [(16, 16)] * 2)
    for path in (tmp_path / "masks").iterdir():
        Image.new("L", (16, 16), 1).save(path)
    (tmp_path / "labels.csv").write_text("image,labels\n00,cat\n01,cat;dog\n")
    out = tmp_path / "out"
    command = [
        *("evaluate", str(tmp_path / "model.safetensors"), "--dataset", "folder"),
        *("--root", str(tmp_path / "in"), "--labels", str(tmp_path / "labels.csv")),
        *("--masks", str(tmp_path / "masks"), "--cam-scales", "1", *FAST, "--output", str(out)),
    ]
    # The counts are written once all is counted; they stay if the end is not reached.
    with monkeypatch.context() as patch:
        patch.setattr("fsr.inference._evaluation.result_of", _interrupt)
        assert main(command) == 130
    assert (out / "counts.safetensors").is_file()
    Image.new("L", (16, 16), 2).save(tmp_path / "masks" / "01.png")
    capsys.readouterr()
    assert main(command) == 1
    assert "counts of another evaluation (other images, labels or masks); remove the file" in (
        capsys.readouterr().err
    )


def _interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt
