"""`fsr prepare voc`: what it prints and how it ends."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from fsr.cli import main
from tests.data.test_sbd import make

COMMAND = ("prepare", "voc")


def test_it_compares_with_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voc, sbd = make(tmp_path)
    assert main([*COMMAND, "--voc", str(voc), "--sbd", str(sbd)]) == 0
    out = capsys.readouterr().out
    assert "5 masks written" in out
    assert "4 images (papers have 10,582)" in out
    assert main([*COMMAND, "--voc", str(tmp_path / "no"), "--sbd", str(sbd)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fsr prepare voc: error: root: expected a folder that holds JPEGImages")


def test_without_a_network_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    arguments = ["--voc", str(tmp_path / "v"), "--sbd", str(tmp_path / "s"), "--download"]
    assert main([*COMMAND, *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fsr prepare voc: error: http")
    assert "cannot be fetched (no route to host); fetch it on a machine with a network" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
        (BrokenProcessPool("a process died"), 1, "error: a process died"),
        (OSError("no space left"), 1, "error: no space left"),
    ],
)
def test_it_ends_with_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fsr.cli._prepare_voc.build_train_aug", fail)
    assert main([*COMMAND, "--voc", str(tmp_path), "--sbd", str(tmp_path)]) == status
    assert capsys.readouterr().err == f"fsr prepare voc: {message}\n"
