"""Text files with the marks, line ends and damage that other programs leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsr._core.text import read_json, read_text
from fsr.errors import DataError, MissingDataError


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be"]
)
def test_every_encoding_that_a_mark_tells_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    path.write_text(f"{mark}één\r\nzwei\rtrois\n", encoding=encoding, newline="")
    assert read_text(path) == "één\nzwei\ntrois\n"


def test_what_is_no_text_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xe9t\xe9")
    with pytest.raises(DataError, match=r"a\.txt: expected text in UTF-8; save it in that encodin"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(MissingDataError, match=r"b\.txt: no such file"):
        read_text(tmp_path / "b.txt")
    with pytest.raises(DataError, match=r"expected a file, this is none"):
        read_text(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataError, match=r"pipe\.json: expected a file, this is a named pipe"):
        read_json(tmp_path / "pipe.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"cannot be read as JSON \(Expecting value.*; the file is damaged or cut off"),
        ('{"a": [1, 2', r"cannot be read as JSON \(Expecting"),
        ("[" * 200_000, r"cannot be read as JSON \(it is nested too deeply\)"),
    ],
)
def test_broken_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=rf"a\.json: {message}"):
        read_json(tmp_path / "a.json")
