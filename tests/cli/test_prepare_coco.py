"""`fsr prepare coco`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsr.cli import main
from fsr.data import COCO2014
from tests.data.test_coco import write_coco

COMMAND = ("prepare", "coco")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def test_it_compares_with_papers(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(coco), "--masks", str(tmp_path / "m"), "--labels", str(tmp_path)]
    assert main([*COMMAND, *arguments]) == 0
    out = capsys.readouterr().out
    assert "3 images with annotations (papers have 82,081)" in out
    assert "1 without, left out" in out
    assert "3 masks drawn into" in out
    lines = (tmp_path / "labels-train.csv").read_text().splitlines()
    assert lines[0] == "image,person,dog,toothbrush"
    assert lines[2] == "COCO_train2014_000000000007.jpg,0,0,1"


def test_it_tells_of_missing_images_and_of_bad_input_in_one_line(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = COCO2014(coco)
    dataset.image_path(1).unlink()
    assert main([*COMMAND, "--root", str(coco)]) == 1
    out, error = capsys.readouterr()
    assert "1 image files are not there, the first: " in out
    assert error.splitlines()[-1] == "fsr prepare coco: error: 1 image files are missing"
    assert main([*COMMAND, "--root", str(coco), "--splits", "val"]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("fsr prepare coco: error: split: expected a file inst")
    with pytest.raises(SystemExit) as caught:
        main([*COMMAND, "--root", str(coco), "--workers", "-1"])
    assert caught.value.code == 2


def test_without_a_network_the_archive_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert main([*COMMAND, "--root", str(tmp_path / "new"), "--download"]) == 1
    assert "train2014.zip: cannot be fetched (" in capsys.readouterr().err
