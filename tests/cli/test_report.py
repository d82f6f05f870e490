"""The command `fsr report`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsr.cli import main
from tests.report.made import made_run


def test_a_report_is_written_into_the_run_or_where_one_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    other = tmp_path / "new" / "other.html"
    assert main(["report", str(run), "--output", str(other), "--images", "1"]) == 0
    assert other.read_text().count('class="picture"') == 2
    assert (run / "report.html").read_text().count('class="picture"') == 4


def test_several_runs_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [str(made_run(tmp_path / name)) for name in ("one", "two", "three")]
    assert main(["report", *runs]) == 0
    assert capsys.readouterr().out == "comparison.html\n"
    assert "<h1>3 runs</h1>" in Path("comparison.html").read_text()
    with pytest.raises(SystemExit, match="2"):
        main(["report", *runs, "--images", "1"])
    assert "--images: a comparison of runs shows no pictures" in capsys.readouterr().err


def test_what_is_no_run_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"fsr report: error: {tmp_path}: holds no run: expected log.jsonl")
    (tmp_path / "file").touch()
    run = str(made_run(tmp_path / "run"))
    assert main(["report", run, "--output", str(tmp_path / "file" / "report.html")]) == 1
    assert "cannot be written" in capsys.readouterr().err
