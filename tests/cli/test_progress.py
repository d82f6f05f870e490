"""The progress of a long command: lines now and then, or a bar on a terminal."""

from __future__ import annotations

import sys

import pytest

from fsr.cli import _progress
from fsr.cli._progress import Progress


def test_it_tells_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0, 12.0, 13.0, 3600.0])
    monkeypatch.setattr("fsr.cli._progress.time.monotonic", lambda: next(clock))
    with Progress(1000) as bar:
        for _ in range(3):
            bar.update()
        bar.set(500, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "2/1000 images, 1:39:48 left",
        "500/1000 images, 1:00:00 left",
    ]


def test_nothing_is_told_of_nothing_done_or_by_the_silent_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Progress(0).set(0, 0)
    Progress(3).set(0, 3)
    Progress(3, shown=False).set(3, 3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("installed", [True, False])
def test_a_terminal_gets_a_bar_where_there_is_one(
    installed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if installed:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setattr(_progress, "find_spec", lambda _: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(0, "masks") as bar:
        bar.set(2, 2)
    shown = capsys.readouterr().err
    assert ("2/2 masks, 0 s left" in shown) is not installed
    assert ("100%" in shown) is installed
