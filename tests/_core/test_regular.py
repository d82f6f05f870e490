"""Plain files told from pipes, devices and sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fsr._core.regular import check_regular
from fsr.errors import DataError


def test_files_folders_and_what_is_not_there_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in (".", "file", "none", "n" * 300, "zero\0byte"):
        check_regular(tmp_path / name)


def test_pipes_and_sockets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: expected a file, this is a named pipe; write what"):
        check_regular(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path may have about 100 letters
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(DataError, match="expected a file, this is a socket"):
            check_regular("socket")
